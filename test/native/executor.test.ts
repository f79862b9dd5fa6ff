// SPDX-License-Identifier: Apache-2.0
// The class Executor through the addon, over the sim device: handover, the ring as a
// SharedArrayBuffer, a drain in a worker thread, losing a client, closing twice, leaving.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DrainPool } from '../../src/executor/drain-pool.ts';
import { moduleExecArgv } from '../../src/model/locate.ts';
import type { DeviceFacts, DrainResult } from '../../src/native/native.ts';
import { RingView } from '../../src/ring/ring-view.ts';
import {
  Agent,
  CLIENT_ID,
  makeExecutor,
  makeFolder,
  plainImage,
  type TestExecutor,
  TOKEN,
} from './support.ts';

const ATTACH = `
path, client_id, token = sys.argv[1:4]
fd, m = make_ring(client_id)
s = connect(path)
hand_over(s, client_id, token, fd)
print(kind(receive(s)))
`;

const expected = {
  clientId: CLIENT_ID,
  token: TOKEN,
  pid: 0,
  uid: process.getuid?.() ?? 0,
  environment: { CUDA_VISIBLE_DEVICES: '0' },
};

describe('Executor', () => {
  let folder: ReturnType<typeof makeFolder>;
  let subject: TestExecutor;
  let facts: DeviceFacts;
  let pool: DrainPool;
  let drained: Promise<DrainResult>;

  beforeEach(() => {
    folder = makeFolder();
    subject = makeExecutor(folder.path);
    facts = subject.executor.start();
    pool = new DrainPool();
    drained = pool.run(subject.executor.key);
  });
  afterEach(async () => {
    subject.executor.close();
    await drained;
    await pool.close();
    folder.dispose();
  });

  function agent(script: string, args: readonly string[] = []): Agent {
    return new Agent(script, [subject.ringSocketPath, CLIENT_ID, TOKEN, ...args]);
  }

  test('takes a ring over and answers through it', async () => {
    const { executor } = subject;
    expect(facts).toMatchObject({ driver: 'sim', ordinal: 0 });
    expect(facts.totalBytes).toBeGreaterThan(0n);
    expect(executor.ringMemory()).toBeNull();
    expect(executor.status().state).toBe('ready');
    executor.expectClient(expected);
    expect(executor.status().state).toBe('expecting');
    const client = agent(`${ATTACH}
call(m, 0x400, struct.pack('<Q', 77))
while struct.unpack_from('<I', m, 4096)[0] != 1: pass
print(struct.unpack_from('<I', m, 4096 + 8)[0], struct.unpack_from('<Q', m, 4096 + 64)[0])
sys.stdin.readline()
`);
    expect(await client.line()).toBe('5');
    expect(await client.line()).toBe('0 77');
    const event = await subject.event('client.attached');
    expect(event).toEqual({ type: 'client.attached', pid: client.process.pid, reattached: false });
    const buffer = executor.ringMemory();
    if (buffer === null) throw new Error('no ring');
    const ring = new RingView(buffer);
    expect(ring.clientId).toBe(CLIENT_ID);
    expect(ring.long('head')).toBe(64n);
    expect(executor.status()).toMatchObject({
      state: 'attached',
      clientId: CLIENT_ID,
      clientPid: client.process.pid,
      commands: 1n,
      syncCommands: 1n,
      deferredErrors: 0n,
      gateClosed: false,
    });
    executor.closeGate();
    expect(ring.word('gate')).toBe(1);
    expect(executor.readHead()).toBe(64n);
    expect(await executor.drainTo(64n, 20_000)).toEqual({
      reached: true,
      position: 64n,
      waitingFor: null,
    });
    executor.openGate();
    expect(ring.word('gate')).toBe(0);
    client.end();
    expect(await subject.event('client.lost')).toMatchObject({ reason: 'hang-up' });
    expect(executor.status().state).toBe('lost');
    expect(() => executor.expectClient(expected)).toThrow(
      expect.objectContaining({ code: 'CONFLICT' }),
    );
  });

  test('saves, verifies and loads an idle client', async () => {
    const { executor } = subject;
    executor.expectClient(expected);
    const client = agent(`${ATTACH}sys.stdin.readline()`);
    expect(await client.line()).toBe('5');
    executor.closeGate();
    const cut = executor.readHead();
    expect((await executor.drainTo(cut, 20_000)).reached).toBe(true);
    const directory = `${folder.path}/executors`;
    const options = { directory, ...plainImage };
    const saved = await executor.save(options, () => undefined);
    expect(saved).toMatchObject({ cut, objects: 0, chunks: 0, deviceBytes: 0n });
    expect(saved.files.map((file) => file.name).sort()).toEqual([
      'blobs',
      'chunks',
      'data-0',
      'data-1',
      'objects',
    ]);
    await expect(executor.save(options, () => undefined)).rejects.toMatchObject({
      code: 'CONFLICT',
    });
    await expect(
      executor.save({ ...options, parent: '/x' }, () => undefined),
    ).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
    client.end();
  });

  test('asks the agent to leave, and takes it back', async () => {
    const { executor } = subject;
    executor.expectClient(expected);
    const client = agent(`${ATTACH}
print(kind(receive(s)))
s.close()
sys.stdin.readline()
s = connect(path)
hand_over(s, client_id, token, fd, reattach=1)
print(kind(receive(s)))
sys.stdin.readline()
`);
    expect(await client.line()).toBe('5');
    const left = executor.disconnectAgent(20_000);
    expect(await client.line()).toBe('8');
    await left;
    expect(executor.status().state).toBe('disconnected');
    executor.expectClient(expected);
    client.say('');
    expect(await client.line()).toBe('5');
    expect(executor.status().state).toBe('attached');
    client.end();
  });

  test('an agent that does not leave is a TIMEOUT', async () => {
    subject.executor.expectClient(expected);
    const client = agent(`${ATTACH}sys.stdin.readline()`);
    expect(await client.line()).toBe('5');
    await expect(subject.executor.disconnectAgent(20)).rejects.toMatchObject({ code: 'TIMEOUT' });
    client.end();
  });

  test.each([
    ['before it is expected', ATTACH, false, '3'],
    [
      'with another token',
      ATTACH.replace('client_id, token, fd)', 'client_id, client_id, fd)'),
      true,
      '3',
    ],
    [
      'with a ring that can shrink',
      ATTACH.replace('make_ring(client_id)', 'make_ring(client_id, 0)'),
      true,
      '3',
    ],
    [
      'with a ring of another version',
      ATTACH.replace('make_ring(client_id)', 'make_ring(client_id, version=2)'),
      true,
      '3',
    ],
    [
      'with a ring smaller than it says',
      ATTACH.replace('token, fd)', 'token, memfd(4096))'),
      true,
      '3',
    ],
    ['without a ring', ATTACH.replace('token, fd)', 'token, None)'), true, '3'],
  ])('refuses a client %s', async (_name, script, expect_it, answer) => {
    if (expect_it) subject.executor.expectClient(expected);
    // The refusal may come, and the connection go, before the handover was sent.
    const client = agent(
      script.replace(
        /hand_over\(.*\)/,
        (sent) => `
try:
    ${sent}
except ConnectionError:
    pass`,
      ),
    );
    expect(await client.line()).toBe(answer);
    expect(subject.executor.status().clientPid).toBeNull();
  });

  test('maps arenas where the client has them, and refuses others', async () => {
    subject.executor.expectClient(expected);
    const client = agent(`${ATTACH}
def arena(address, size, kind, seals=SEALS):
    fd = memfd(size, seals)
    send(s, message(ARENA, struct.pack('<QQII', address, size, kind, 0), 9), fd)
    data = receive(s)
    print(kind_of(data), struct.unpack_from('<I', data, 16)[0])
kind_of = kind
arena(0x6e0000400000, 1 << 20, 2)
arena(0x6e0000400000, 1 << 16, 2)
arena(0x10000, 1 << 20, 2)
arena(0x6e0001000000, 1 << 20, 2, 0)
sys.stdin.readline()
`);
    expect(await client.line()).toBe('5');
    expect(await client.line()).toBe('7 0');
    for (let i = 0; i < 3; i += 1) expect(await client.line()).toBe('7 1');
    expect(subject.executor.status().arenaBytes).toBe(1n << 20n);
    client.end();
  });

  test('cuts a client off that breaks the protocol, and only tells', async () => {
    subject.executor.expectClient(expected);
    const client = agent(`${ATTACH}
m[64:72] = struct.pack('<Q', 7)
try:
    print(len(receive(s)))
except ConnectionError:
    print(0)
print(struct.unpack_from('<I', m, 196)[0])
`);
    expect(await client.line()).toBe('5');
    expect(await client.line()).toBe('0');
    expect(await client.line()).toBe('1');
    expect(await subject.event('client.lost')).toMatchObject({ reason: 'protocol' });
  });

  test('after close() everything but close() is CONFLICT', async () => {
    const { executor } = subject;
    executor.close();
    executor.close();
    executor.stop();
    const conflict = expect.objectContaining({ code: 'CONFLICT' });
    expect(() => executor.status()).toThrow(conflict);
    expect(() => executor.start()).toThrow(conflict);
    expect(() => executor.ringMemory()).toThrow(conflict);
    await expect(executor.drainTo(0n, 1)).rejects.toMatchObject({ code: 'CONFLICT' });
  });
});

test('wrong arguments throw and crash nothing', () => {
  const folder = makeFolder();
  const { executor } = makeExecutor(folder.path);
  expect(() => executor.closeGate()).toThrow(expect.objectContaining({ code: 'CONFLICT' }));
  expect(() => executor.expectClient({ ...expected, token: 'short' })).toThrow(/argument 2/);
  expect(() => executor.expectClient({ ...expected, pid: -1 })).toThrow(/argument 3/);
  executor.close();
  folder.dispose();
});

test('a process leaves while a worker drains, and a worker may end first', () => {
  const source = (name: string): string =>
    fileURLToPath(new URL(`../../src/${name}`, import.meta.url));
  const folder = makeFolder();
  const script = `
    import { Worker } from 'node:worker_threads';
    import { Executor, stopAll } from ${JSON.stringify(source('native/native.ts'))};
    import { DrainPool } from ${JSON.stringify(source('executor/drain-pool.ts'))};
    const executor = new Executor({ driver: 'sim', ordinal: 0, runtimeDir: '/', id: 'a',
      ringSocketPath: ${JSON.stringify(`${folder.path}/r.sock`)}, memoryLimitBytes: 0n }, () => {});
    executor.start();
    process.on('exit', () => stopAll());
    const first = new DrainPool();
    const drained = first.run(executor.key);
    setTimeout(async () => {
      executor.stop();
      console.log((await drained).end);
      await first.close();
      globalThis.gc?.();
      void new DrainPool().run(executor.key);
      setTimeout(() => process.exit(3), 200);
    }, 200);
  `;
  let code = 0;
  let output = '';
  try {
    output = execFileSync(
      process.execPath,
      [...moduleExecArgv, '--expose-gc', '--input-type=module', '-e', script],
      { encoding: 'utf8', timeout: 60_000 },
    );
  } catch (thrown) {
    const failed = thrown as { status: number | null; stdout: string };
    code = failed.status ?? -1;
    output = failed.stdout;
  }
  expect(output.trim()).toBe('stopped');
  expect(code).toBe(3);
  folder.dispose();
});
