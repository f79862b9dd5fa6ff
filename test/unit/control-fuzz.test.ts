// SPDX-License-Identifier: Apache-2.0
// The control API's socket, fuzzed: what a real client sent is recorded, changed, and sent again
// by a peer that cares for no protocol. The server must serve the next client as if nothing had
// been, and hold nothing of the bad ones.
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ControlClient, controlClient } from '../../src/control/client.ts';
import { type ControlServer, startControlServer } from '../../src/control/server.ts';
import { PhosError } from '../../src/errors/phos-error.ts';
import { Control } from '../../src/gen/proto/phos/v1/control_pb.ts';
import { mutated, randomFrom } from '../support/mutator.ts';

const SECONDS = 3;
const AT_ONCE = 16;
/** No answer of a live server to one client takes as long. */
const PATIENCE_MS = 20_000;
const peer = { pid: process.pid, uid: 1234, gid: 5678 };

let folder: string;
let server: ControlServer;
let client: ControlClient;
let seeds: Buffer[];
let open = 0;
const refused: unknown[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'phos-fuzz-'));
  const path = join(folder, 'control.sock');
  server = await startControlServer({
    path,
    mode: 0o600,
    idleMs: 100,
    answerMs: 100,
    peerOf: () => peer,
    onError: (_, error) => refused.push(error),
    routes: (router) =>
      router.service(Control, {
        status: () => ({ version: '0.1.0', pid: 7 }),
        list: () => ({}),
        explain: ({ pid }) => {
          throw new PhosError('NOT_FOUND', `no program has pid ${pid}`);
        },
        run: ({ argv }) => ({ keeperId: argv.join(' ') }),
        dump: async function* ({ directory }) {
          yield { event: { case: 'started' as const, value: { jobId: directory } } };
        },
      }),
  });
  client = controlClient(path);
  seeds = await recorded(path);
});
afterAll(async () => {
  await server.close(1_000);
  rmSync(folder, { recursive: true, force: true });
});

/** What clients send, one connection each. */
async function recorded(target: string): Promise<Buffer[]> {
  const path = join(folder, 'recorder.sock');
  const sent: Buffer[] = [];
  const recorder = await new Promise<Server>((resolve) => {
    const made = createServer((from) => {
      const index = sent.push(Buffer.alloc(0)) - 1;
      const to = connect(target);
      from.on('data', (bytes) => {
        sent[index] = Buffer.concat([sent[index] ?? Buffer.alloc(0), bytes]);
        to.write(bytes);
      });
      to.on('data', (bytes) => from.write(bytes));
      from.on('close', () => to.destroy()).on('error', () => undefined);
      to.on('close', () => from.destroy()).on('error', () => undefined);
    }).listen(path, () => resolve(made));
  });
  const calls: ((one: ControlClient) => Promise<unknown>)[] = [
    (one) => one.status({}),
    (one) => one.run({ argv: ['/bin/true', '-x'], cwd: '/' }),
    (one) => one.explain({ pid: 7 }).catch(() => null),
    async (one) => {
      for await (const event of one.dump({ pid: 1, directory: '/x' })) void event;
    },
  ];
  for (const call of calls) await call(controlClient(path));
  await new Promise((resolve) => recorder.close(resolve));
  return sent;
}

/** Sends bytes in one piece or many, ends, and waits until the server has ended as well. */
function send(bytes: Buffer, cut: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(join(folder, 'control.sock'));
    open += 1;
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`the server held on to ${bytes.toString('hex')}`));
    }, PATIENCE_MS);
    // To be cut off is an answer; so is a reset while we write.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(timer);
      open -= 1;
      resolve();
    });
    socket.resume();
    socket.write(bytes.subarray(0, cut));
    socket.end(bytes.subarray(cut));
  });
}

describe('control socket', () => {
  it('serves on, whatever bytes were sent to it', { timeout: 120_000 }, async () => {
    const seed = fc.readConfigureGlobal().seed ?? 1;
    const random = randomFrom(seed);
    const end = performance.now() + SECONDS * 1_000;
    let count = 0;
    while (performance.now() < end) {
      const inputs = Array.from({ length: AT_ONCE }, () => mutated(seeds, random));
      await Promise.all(inputs.map((bytes) => send(bytes, random(bytes.length + 1))));
      count += AT_ONCE;
      expect(await client.status({}), `seed ${seed}, ${count} inputs`).toMatchObject({ pid: 7 });
    }
    expect(open).toBe(0);
    // Not all was noise: some inputs still were calls, and reached a handler that refused them.
    expect(refused.filter((error) => error instanceof PhosError).length).toBeGreaterThan(0);
  });

  it('lets go of a peer whose frame was refused, and of one that is gone', async () => {
    // A frame longer than any may be: Node answers GOAWAY, and reads no more.
    const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    const header = Buffer.from('ff20000400000000000000006b010400000001', 'hex');
    const tooLong = Buffer.concat([preface, header]);
    await send(tooLong, tooLong.length);
    await send(preface, 10);
    expect(open).toBe(0);
  });

  it('is fuzzed with what clients send', async () => {
    expect(seeds).toHaveLength(4);
    for (const bytes of seeds) {
      expect(bytes.subarray(0, 14).toString()).toBe('PRI * HTTP/2.0');
      await send(bytes, bytes.length);
    }
  });
});
