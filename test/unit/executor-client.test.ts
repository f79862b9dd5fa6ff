// SPDX-License-Identifier: Apache-2.0
// phosd's side of the executor's control protocol, against a server that the test plays.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ExecutorClient } from '../../src/executor/client.ts';
import { LineReader } from '../../src/executor/line-reader.ts';
import { type ExecutorNotice, MAX_LINE_BYTES, methods } from '../../src/executor/protocol.ts';

const DEADLINE_MS = 20_000;

/** What the answer fails with. Somebody waits for it at once, however late it is looked at. */
const refusal = (asked: Promise<unknown>): Promise<unknown> =>
  asked.then(
    (answer) => ({ answer }),
    (error: unknown) => error,
  );

describe('lines', () => {
  test('are put together from any pieces', () => {
    const reader = new LineReader();
    const text = Buffer.from('{"a":"ä"}\n{"b":2}\n');
    const lines: unknown[] = [];
    for (const byte of text) lines.push(...reader.push(Buffer.from([byte])));
    expect(lines).toEqual([{ a: 'ä' }, { b: 2 }]);
  });

  test('have a limit, and must be JSON', () => {
    expect(() => new LineReader().push(Buffer.alloc(MAX_LINE_BYTES + 1, 0x61))).toThrow(/longer/);
    expect(() => new LineReader().push(Buffer.from('{\n'))).toThrow(/not JSON/);
  });
});

test('big integers travel as decimal strings and come back', () => {
  const params = { cut: 2n ** 63n, deadlineMs: 5 };
  const sent = methods['drain.to'].params.encode(params);
  expect(sent).toEqual({ cut: '9223372036854775808', deadlineMs: 5 });
  expect(methods['drain.to'].params.decode(sent)).toEqual(params);
  expect(methods['drain.to'].params.safeParse({ cut: '-1', deadlineMs: 5 }).success).toBe(false);
});

describe('client', () => {
  let folder: string;
  let server: Server;
  let peer: Promise<Socket>;
  let client: ExecutorClient;
  let notices: ExecutorNotice[];

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'phos-executor-'));
    notices = [];
    server = createServer();
    peer = new Promise((resolve) => server.once('connection', resolve));
    await new Promise<void>((resolve) => server.listen(join(folder, 's'), resolve));
    client = await ExecutorClient.connect(join(folder, 's'), {
      connectDeadlineMs: DEADLINE_MS,
      onNotice: (notice) => notices.push(notice),
    });
  });
  afterEach(async () => {
    client.close();
    (await peer).destroy();
    server.close();
    rmSync(folder, { recursive: true });
  });

  async function nextLine(): Promise<{ id: number; method: string; params: unknown }> {
    const socket = await peer;
    return await new Promise((resolve) =>
      socket.once('data', (data: Buffer) => resolve(JSON.parse(data.toString()))),
    );
  }
  async function say(line: unknown): Promise<void> {
    (await peer).write(`${JSON.stringify(line)}\n`);
  }

  test('answers by id, in any order', async () => {
    const first = client.request('ring.head', {}, DEADLINE_MS);
    const { id } = await nextLine();
    const second = client.request('gate.close', {}, DEADLINE_MS);
    const other = await nextLine();
    await say({ id: other.id, result: {} });
    await say({ id, result: { head: '64' } });
    expect(await second).toEqual({});
    expect(await first).toEqual({ head: 64n });
  });

  test('rebuilds errors', async () => {
    const asked = client.request('suspend', {}, DEADLINE_MS);
    const { id } = await nextLine();
    const error = { code: 'DEVICE', message: 'no memory', details: { a: 1 }, retryable: true };
    await say({ id, error });
    await expect(asked).rejects.toMatchObject({ code: 'DEVICE', retryable: true });
  });

  test('says TRANSPORT for an answer out of form', async () => {
    const asked = client.request('ring.head', {}, DEADLINE_MS);
    const { id } = await nextLine();
    await say({ id, result: { head: 'many' } });
    await expect(asked).rejects.toMatchObject({ code: 'TRANSPORT' });
  });

  test('gives up at its deadline and survives the late answer', async () => {
    const refused = refusal(client.request('gate.open', {}, 1));
    const { id } = await nextLine();
    expect(await refused).toMatchObject({ code: 'TIMEOUT' });
    await say({ id, result: {} });
    const next = client.request('gate.open', {}, DEADLINE_MS);
    const again = await nextLine();
    await say({ id: again.id, result: {} });
    expect(await next).toEqual({});
  });

  test('passes notices on', async () => {
    const params = { method: 'save', doneBytes: '5', totalBytes: '10' };
    await say({ event: 'progress', params });
    const asked = client.request('gate.open', {}, DEADLINE_MS);
    await say({ id: (await nextLine()).id, result: {} });
    await asked;
    expect(notices).toEqual([
      { event: 'progress', params: { method: 'save', doneBytes: 5n, totalBytes: 10n } },
    ]);
  });

  test('fails what is under way when the executor is gone', async () => {
    const refused = refusal(client.request('explain', {}, DEADLINE_MS));
    await nextLine();
    (await peer).destroy();
    expect(await refused).toMatchObject({ code: 'UNAVAILABLE' });
    await client.closed;
    await expect(client.request('status', {}, DEADLINE_MS)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    });
  });

  test('ends a connection that does not speak the protocol', async () => {
    const asked = client.request('explain', {}, DEADLINE_MS);
    await nextLine();
    (await peer).write('hello\n');
    await expect(asked).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });
});

test('nobody listens: UNAVAILABLE', async () => {
  const options = { connectDeadlineMs: DEADLINE_MS, onNotice: () => undefined };
  await expect(ExecutorClient.connect('/nonexistent/x.sock', options)).rejects.toMatchObject({
    code: 'UNAVAILABLE',
  });
});
