// SPDX-License-Identifier: Apache-2.0
// Processes through the addon: credentials, pidfds, start times.
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { moduleExecArgv } from '../../src/model/locate.ts';
import {
  faultPoint,
  peerCredentials,
  pidfdOpen,
  processStartTime,
} from '../../src/native/native.ts';
import { makeFolder } from './support.ts';

const NO_PID = 2 ** 22 + 1;

describe('peerCredentials', () => {
  test('tells who is connected', async () => {
    const folder = makeFolder();
    const server = createServer();
    const accepted = new Promise<import('node:net').Socket>((resolve) =>
      server.once('connection', resolve),
    );
    server.listen(join(folder.path, 's'));
    const client = connect(join(folder.path, 's'));
    const socket = await accepted;
    const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
    expect(peerCredentials(fd)).toEqual({
      pid: process.pid,
      uid: process.getuid?.(),
      gid: process.getgid?.(),
    });
    client.destroy();
    socket.destroy();
    server.close();
    folder.dispose();
  });

  test('refuses what is not a socket, and wrong arguments', () => {
    const file = openSync('/dev/null', 'r');
    expect(() => peerCredentials(file)).toThrow(/not a connected unix socket/);
    closeSync(file);
    expect(() => peerCredentials(-1)).toThrow(/argument 1/);
    expect(() => peerCredentials(1.5)).toThrow(/argument 1/);
    expect(() => peerCredentials('1' as unknown as number)).toThrow(/argument 1/);
    expect(() => peerCredentials(undefined as unknown as number)).toThrow(/argument 1/);
  });
});

describe('processes', () => {
  test('pidfdOpen gives a descriptor that is closed on exec', () => {
    const fd = pidfdOpen(process.pid);
    expect(fstatSync(fd)).toBeDefined();
    const flags = readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8').match(/flags:\s*(\d+)/)?.[1];
    expect(Number.parseInt(flags ?? '0', 8) & 0o2000000).not.toBe(0);
    closeSync(fd);
  });

  test('a missing process is NOT_FOUND', () => {
    expect(() => pidfdOpen(NO_PID)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
    expect(() => processStartTime(NO_PID)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
  });

  test('start times tell processes apart, whatever their name', () => {
    const stat = readFileSync('/proc/self/stat', 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    expect(processStartTime(process.pid)).toBe(BigInt(fields[19] ?? 0));
    const child = spawn('sleep', ['60']);
    expect(processStartTime(child.pid ?? 0)).toBeGreaterThanOrEqual(processStartTime(process.pid));
    child.kill('SIGKILL');
  });
});

test('setCredentials drops root for good, in every thread', {
  skip: process.getuid?.() !== 0,
}, () => {
  const native = fileURLToPath(new URL('../../src/native/native.ts', import.meta.url));
  const script = `
    import { readdirSync, readFileSync } from 'node:fs';
    import { setCredentials } from ${JSON.stringify(native)};
    setCredentials(65534, 65534);
    const seen = new Set();
    for (const thread of readdirSync('/proc/self/task')) {
      const status = readFileSync('/proc/self/task/' + thread + '/status', 'utf8');
      for (const key of ['Uid', 'Gid', 'CapEff', 'CapPrm', 'Groups', 'NoNewPrivs']) {
        const line = status.split('\\n').find((l) => l.startsWith(key + ':'));
        if (key === 'NoNewPrivs' && thread !== String(process.pid)) continue;
        seen.add(line.trim().replace(/\\s+/g, ' '));
      }
    }
    let back = 'no';
    try { process.setuid(0); back = 'yes'; } catch {}
    console.log(JSON.stringify([...seen].sort()), back);
  `;
  const output = execFileSync(
    process.execPath,
    [...moduleExecArgv, '--input-type=module', '-e', script],
    { encoding: 'utf8' },
  );
  expect(output).toContain('"Uid: 65534 65534 65534 65534"');
  expect(output).toContain('"CapEff: 0000000000000000"');
  expect(output).toContain('"Groups:"');
  expect(output).toContain('"NoNewPrivs: 1"');
  expect(output.match(/Uid:/g)).toHaveLength(1);
  expect(output.trim().endsWith(' no')).toBe(true);
});

test('fault points count and name their errno', () => {
  const native = fileURLToPath(new URL('../../src/native/native.ts', import.meta.url));
  const script = `import { faultPoint } from ${JSON.stringify(native)};
    console.log([1, 2, 3].map(() => faultPoint('test.point')).join());`;
  const output = execFileSync(
    process.execPath,
    [...moduleExecArgv, '--input-type=module', '-e', script],
    { encoding: 'utf8', env: { ...process.env, PHOS_FAULT: 'other:1,test.point:2:enospc' } },
  );
  expect(output.trim()).toBe('0,28,0');
  expect(faultPoint('test.point')).toBe(0);
});
