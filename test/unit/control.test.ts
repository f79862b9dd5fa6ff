// SPDX-License-Identifier: Apache-2.0
// The control API over a real unix socket, without phosd behind it.
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ServiceImpl } from '@connectrpc/connect';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ControlClient, controlClient } from '../../src/control/client.ts';
import { callerOf, type ControlServer, startControlServer } from '../../src/control/server.ts';
import { PhosError } from '../../src/errors/phos-error.ts';
import { Control } from '../../src/gen/proto/phos/v1/control_pb.ts';

const peer = { pid: process.pid, uid: 1234, gid: 5678 };
let folder: string;
let path: string;
let server: ControlServer | null;
const logged: string[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'phos-control-'));
  path = join(folder, 'control.sock');
  server = null;
  logged.length = 0;
});
afterEach(async () => {
  await server?.close(1_000);
  rmSync(folder, { recursive: true, force: true });
});

async function serve(implementation: Partial<ServiceImpl<typeof Control>>): Promise<ControlClient> {
  server = await startControlServer({
    path,
    mode: 0o600,
    peerOf: () => peer,
    routes: (router) => router.service(Control, implementation),
    onError: (method) => logged.push(method),
  });
  return controlClient(path);
}

describe('control API', () => {
  it('answers, knows who asks, and keeps others out', async () => {
    const seen: unknown[] = [];
    const client = await serve({
      status: (_, context) => {
        seen.push(callerOf(context));
        return { version: '0.1.0', pid: 7 };
      },
    });
    expect(await client.status({})).toMatchObject({ version: '0.1.0', pid: 7 });
    expect(seen).toEqual([peer]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('carries a PhosError back whole', async () => {
    const client = await serve({
      stop: () => {
        throw new PhosError('CONFLICT', 'a job is under way', { details: { jobId: 'j1', n: 3n } });
      },
    });
    const error = await client.stop({}).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(PhosError);
    expect(error).toMatchObject({
      code: 'CONFLICT',
      message: 'a job is under way',
      details: { jobId: 'j1', n: '3' },
    });
    expect(logged).toEqual(['Stop']);
  });

  it('streams, and carries a failure after events', async () => {
    const client = await serve({
      dump: async function* () {
        yield { event: { case: 'started' as const, value: { jobId: 'j1' } } };
        throw new PhosError('STORAGE', 'no space left');
      },
    });
    const events: string[] = [];
    const read = async () => {
      for await (const event of client.dump({ pid: 1, directory: '/x' })) {
        events.push(event.event.case ?? '');
      }
    };
    await expect(read()).rejects.toMatchObject({ code: 'STORAGE', message: 'no space left' });
    expect(events).toEqual(['started']);
  });

  it('tells a handler that its caller went away', async () => {
    let aborted: (() => void) | null = null;
    const gone = new Promise<void>((resolve) => {
      aborted = resolve;
    });
    const client = await serve({
      dump: async function* (_, context) {
        context.signal.addEventListener('abort', () => aborted?.());
        yield { event: { case: 'started' as const, value: { jobId: 'j1' } } };
        await gone;
      },
    });
    const stop = new AbortController();
    for await (const event of client.dump({ pid: 1 }, { signal: stop.signal })) {
      expect(event.event.case).toBe('started');
      stop.abort();
      break;
    }
    await gone;
  });

  it('says that phosd ended under a call', async () => {
    let end: () => void = () => undefined;
    const begun = new Promise<void>((resolve) => {
      end = resolve;
    });
    const client = await serve({
      dump: async function* () {
        yield { event: { case: 'started' as const, value: { jobId: 'j1' } } };
        end();
        await new Promise(() => undefined);
      },
    });
    const read = async () => {
      for await (const event of client.dump({ pid: 1 })) expect(event.event.case).toBe('started');
    };
    const closed = begun.then(() => server?.close(10));
    await expect(read()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await closed;
  });

  it('says that phosd is not running', async () => {
    const error = await controlClient(path)
      .status({})
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'UNAVAILABLE' });
    expect((error as PhosError).message).toContain('phos start');
  });

  it('gives up at the deadline of a call', async () => {
    const client = await serve({ status: () => new Promise(() => undefined) });
    await expect(client.status({}, { timeoutMs: 50 })).rejects.toMatchObject({ code: 'TIMEOUT' });
  });
});
