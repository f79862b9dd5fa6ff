// SPDX-License-Identifier: Apache-2.0
// attach.sock through the addon: hello, welcome, refusal, hostile agents, closing twice.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AttachServer, type AttachRequest } from '../../src/native/native.ts';
import { Agent, CLIENT_ID, makeFolder, TOKEN } from './support.ts';

const SAY_HELLO = `
s = connect(sys.argv[1])
environment = b'CUDA_VISIBLE_DEVICES=1\\0PHOS_LOG=x=y\\0broken\\0'
body = bytes.fromhex(sys.argv[2]) + struct.pack('<IIII', os.getpid(), 1, 7, len(environment))
send(s, message(HELLO, body + environment, 42))
data = receive(s)
print(kind(data), struct.unpack_from('<I', data, 12)[0], data[16:].rstrip(b'\\0'))
`;

describe('AttachServer', () => {
  let folder: ReturnType<typeof makeFolder>;
  let server: AttachServer;
  let next: Promise<AttachRequest>;
  let gone: Promise<number>;

  beforeEach(() => {
    folder = makeFolder();
    next = new Promise((resolveRequest) => {
      gone = new Promise((resolveGone) => {
        server = new AttachServer(`${folder.path}/attach.sock`, {
          onMessage: resolveRequest,
          onGone: resolveGone,
        });
      });
    });
  });
  afterEach(() => {
    server.close();
    folder.dispose();
  });

  test('passes a hello on and sends the agent to its executor', async () => {
    const agent = new Agent(SAY_HELLO, [`${folder.path}/attach.sock`, CLIENT_ID]);
    const request = await next;
    expect(request.hello).toEqual({
      clientId: CLIENT_ID,
      pid: agent.process.pid,
      reattach: true,
      ringVersion: 7,
      environment: { CUDA_VISIBLE_DEVICES: '1', PHOS_LOG: 'x=y' },
    });
    expect(request.peer.pid).toBe(agent.process.pid);
    server.welcome(request.connection, { token: TOKEN, executorPath: '/run/x' });
    const line = await agent.line();
    expect(line.startsWith('2 42 ')).toBe(true);
    expect(line).toContain('/run/x');
    expect(() => server.refuse(request.connection, 1, 'late')).toThrow(
      expect.objectContaining({ code: 'NOT_FOUND' }),
    );
  });

  test('refuses with a status and a sentence', async () => {
    const agent = new Agent(SAY_HELLO, [`${folder.path}/attach.sock`, CLIENT_ID]);
    const request = await next;
    server.refuse(request.connection, 3, 'no executor is free');
    expect(await agent.line()).toContain('no executor is free');
  });

  test('tells when an agent does not wait for the answer', async () => {
    const agent = new Agent(SAY_HELLO, [`${folder.path}/attach.sock`, CLIENT_ID]);
    const request = await next;
    agent.end();
    expect(await gone).toBe(request.connection);
    expect(() => server.welcome(request.connection, { token: TOKEN, executorPath: '/x' })).toThrow(
      expect.objectContaining({ code: 'NOT_FOUND' }),
    );
  });

  test('drops agents that do not speak the protocol, and serves the next', async () => {
    const path = `${folder.path}/attach.sock`;
    const hostile = new Agent(
      `
broken = (b'', b'x', message(HELLO, b''), message(ARENA, bytes(32)), message(HELLO, bytes(60000)))
for data in broken:
    s = connect(sys.argv[1])
    send(s, data)
    print(kind(receive(s)))
`,
      [path],
    );
    for (let i = 0; i < 5; i += 1) expect(['0', '3']).toContain(await hostile.line());
    new Agent(SAY_HELLO, [path, CLIENT_ID]);
    server.refuse((await next).connection, 3, 'bye');
  });

  test('one server a path; a dead socket file is replaced', () => {
    const path = `${folder.path}/attach.sock`;
    const events = { onMessage: () => undefined, onGone: () => undefined };
    expect(() => new AttachServer(path, events)).toThrow(
      expect.objectContaining({ code: 'CONFLICT' }),
    );
    server.close();
    server.close();
    const again = new AttachServer(path, events);
    again.close();
  });

  test('wrong arguments throw', () => {
    const events = { onMessage: () => undefined, onGone: () => undefined };
    expect(() => new AttachServer(3 as unknown as string, events)).toThrow(/argument 1/);
    expect(
      () => new AttachServer('/tmp/x', { onMessage: null as never, onGone: events.onGone }),
    ).toThrow(/argument 2/);
    expect(() => new AttachServer(`/tmp/${'x'.repeat(200)}`, events)).toThrow(/longer than/);
    expect(() => server.welcome(1, { token: 'zz', executorPath: '/x' })).toThrow(/argument 2/);
    expect(() => server.welcome(0, { token: TOKEN, executorPath: '/x' })).toThrow(/argument 1/);
    server.close();
    expect(() => server.refuse(1, 1, '')).toThrow(expect.objectContaining({ code: 'CONFLICT' }));
  });
});
