// SPDX-License-Identifier: Apache-2.0
// The keeper and its client with real programs: output complete and in order, input with
// back-pressure, terminals, exit reports, logs while nobody is attached. No CRIU here.
import { createHash } from 'node:crypto';
import { chmodSync, readFileSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PhosError } from '../../src/errors/phos-error.ts';
import { createJobCgroup } from '../../src/host/cgroup.ts';
import { startKeeper } from '../../src/host/keeper.ts';
import { KeeperConnection } from '../../src/host/keeper-connection.ts';
import { isAlive, readProcess } from '../../src/host/proc.ts';
import { waitUntil } from '../../src/host/wait.ts';
import { Bench, Collector, DEADLINE_MS } from '../support/counter.ts';

/** Null where jobs can have a cgroup, which these tests give them. */
const missing = (() => {
  try {
    void createJobCgroup(`probe-${process.pid}`).remove(DEADLINE_MS);
    return null;
  } catch (thrown) {
    return String(thrown);
  }
})();

describe.skipIf(missing !== null)(`keeper${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let bench: Bench;
  const sh = (script: string, overrides = {}) => bench.run(['/bin/sh', '-c', script], overrides);
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench.dispose());

  test('exit status and signal are reported, after the last output', async () => {
    const exiting = await sh('echo out; echo err >&2; exit 42');
    expect(await exiting.keeper.exited).toMatchObject({ code: 42, signal: null });
    expect([exiting.output.out, exiting.output.err]).toEqual(['out\n', 'err\n']);
    const killed = await sh('echo last; kill -9 $$');
    expect(await killed.keeper.exited).toMatchObject({ code: null, signal: 9 });
    expect(killed.output.out).toBe('last\n');
    expect(JSON.parse(readFileSync(killed.job.exitFile, 'utf8'))).toMatchObject({ signal: 9 });
  });

  test('megabytes pass through both ways unchanged', async () => {
    const run = await bench.run(['cat']);
    const sent = Buffer.alloc(5 << 20, 0);
    for (let at = 0; at < sent.length; at += 1) sent[at] = (at * 2_654_435_761) >>> 24;
    const hash = createHash('sha256');
    let received = 0;
    await run.keeper.detach(DEADLINE_MS);
    const sink = {
      stdout: (bytes: Buffer) => {
        hash.update(bytes);
        received += bytes.length;
      },
      stderr: () => undefined,
    };
    await run.keeper.attach(sink, null, DEADLINE_MS);
    await run.keeper.writeInput(sent);
    run.keeper.endInput();
    expect(await run.keeper.exited).toMatchObject({ code: 0 });
    expect(received).toBe(sent.length);
    expect(hash.digest('hex')).toBe(createHash('sha256').update(sent).digest('hex'));
  });

  test('a reader that does not read stops the program, and nothing is lost', async () => {
    let release: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const output = new Collector();
    const run = await sh(
      'read go; i=0; while [ $i -lt 40000 ]; do echo "line number $i of many"; i=$((i+1)); done',
    );
    await run.keeper.detach(DEADLINE_MS);
    const sink = {
      stdout: (bytes: Buffer) => gate.then(() => output.stdout(bytes)),
      stderr: () => undefined,
    };
    await run.keeper.attach(sink, null, DEADLINE_MS);
    await run.keeper.writeInput(Buffer.from('go\n'));
    const other = await KeeperConnection.open(run.job.socketPath, DEADLINE_MS);
    let before = -1n;
    await waitUntilSteady(async () => {
      const { counters } = await other.status(DEADLINE_MS);
      const steady = counters.stdoutBytes === before && counters.stdoutBytes > 0n;
      before = counters.stdoutBytes;
      return steady;
    });
    expect(isAlive(run.started)).toBe(true);
    release();
    expect(await run.keeper.exited).toMatchObject({ code: 0 });
    const lines = output.lines();
    expect(lines).toHaveLength(40_000);
    expect(lines.at(-1)).toBe('line number 39999 of many');
    other.close();
  });

  test('the program leads a session of its own, with nothing open but its three ends', async () => {
    const run = await sh('ls /proc/$$/fd | tr "\\n" " "; sleep 30');
    await waitUntil(() => run.output.out.includes('2'), DEADLINE_MS, 'no list of descriptors');
    expect(
      run.output.out
        .trim()
        .split(' ')
        .filter((fd) => Number(fd) < 10),
    ).toEqual(['0', '1', '2']);
    const facts = readProcess(run.started.pid);
    expect(facts).toMatchObject({ session: run.started.pid, processGroup: run.started.pid });
    expect(facts?.parentPid).toBe(run.started.keeperPid);
    expect(run.cgroup.members()).toContain(run.started.pid);
  });

  test('default signals, umask, folder and environment', async () => {
    const run = await bench.run([
      '/bin/sh',
      '-c',
      'grep -E "Sig(Ign|Blk)" /proc/self/status; umask; pwd; echo "$PATH" | grep -c /',
    ]);
    await run.keeper.exited;
    expect(run.output.lines().map((line) => line.replace(/\s+/g, ' '))).toEqual([
      'SigBlk: 0000000000000000',
      'SigIgn: 0000000000000000',
      '0022',
      bench.dir,
      '1',
    ]);
  });

  test('a terminal has its size, its changes, and Ctrl-C', async () => {
    const pty = { rows: 31, columns: 101 };
    const run = await sh(
      'trap "stty size; exit 5" INT; tty >/dev/null && stty size; while :; do sleep 0.05; done',
      { pty },
    );
    await waitUntil(() => run.output.out.includes('31 101'), DEADLINE_MS, 'no size came');
    run.keeper.resize({ rows: 12, columns: 34 });
    await run.keeper.writeInput(Buffer.from('\x03'));
    expect(await run.keeper.exited).toMatchObject({ code: 5 });
    expect(run.output.out).toContain('12 34');
  });

  test('signals reach the whole process group', async () => {
    const run = await sh('trap "echo got; exit 9" USR1; echo ready; while :; do sleep 0.05; done');
    await run.output.waitForLines(1);
    await run.keeper.signal(10, DEADLINE_MS);
    expect(await run.keeper.exited).toMatchObject({ code: 9 });
    expect(run.output.lines()).toEqual(['ready', 'got']);
  });

  test('while nobody is attached, output goes to the log; the next one gets the rest', async () => {
    const wait = `while [ ! -e ${bench.gate} ]; do sleep 0.02; done`;
    const run = await sh(`echo one; ${wait}; echo two; echo bad >&2; read x; echo three`);
    await run.output.waitForLines(1);
    // What is on its way to a terminal that goes away may be lost with it: so first the answer that
    // nobody is attached any more, then the output.
    await run.keeper.detach(DEADLINE_MS);
    run.keeper.close();
    bench.openGate();
    await waitUntil(() => sizeOf(run.job.logErr) > 0, DEADLINE_MS, 'no log came');
    const next = await bench.follow(run.job, run.started);
    await next.keeper.writeInput(Buffer.from('\n'));
    expect(await next.keeper.exited).toMatchObject({ code: 0 });
    const logged = sizeOf(run.job.logOut) > 0 ? readFileSync(run.job.logOut, 'utf8') : '';
    expect(run.output.out + logged + next.output.out).toBe('one\ntwo\nthree\n');
    expect(run.output.err + readFileSync(run.job.logErr, 'utf8')).toBe('bad\n');
  });

  test('the end reaches a terminal that is slow to read and still sends input', async () => {
    const run = await sh('read x; echo out; sleep 0.2; echo more; exit 42');
    await run.keeper.detach(DEADLINE_MS);
    let release: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    await run.keeper.attach({ stdout: () => held, stderr: () => held }, null, DEADLINE_MS);
    await run.keeper.writeInput(Buffer.from('\n'));
    await waitUntil(() => !isAlive(run.started), DEADLINE_MS, 'the program did not end');
    // Longer than the keeper's own tick, so that one that would not wait for us is gone.
    await new Promise((resolve) => setTimeout(resolve, 700));
    run.keeper.endInput();
    await new Promise((resolve) => setTimeout(resolve, 100));
    release();
    expect(await run.keeper.exited).toMatchObject({ code: 42, signal: null });
  });

  test('output waits for the first one to attach, even when the program has ended', async () => {
    const job = bench.job({ holdMs: 20_000 });
    const spec = { ...job, argv: ['/bin/echo', 'early'], cwd: '/', umask: 0o022, environment: {} };
    const started = await startKeeper(spec, DEADLINE_MS);
    bench.track(started);
    await waitUntil(() => !isAlive(started), DEADLINE_MS, 'echo did not end');
    const run = await bench.follow(job, started);
    expect(await run.keeper.exited).toMatchObject({ code: 0 });
    expect(run.output.out).toBe('early\n');
    await run.keeper.closed;
    await waitUntil(
      () =>
        readProcess(started.keeperPid)?.command !== 'phos-keeper' ||
        readProcess(started.keeperPid)?.state === 'Z',
      DEADLINE_MS,
      'the keeper stayed',
    );
    expect(() => statSync(job.socketPath)).toThrow('ENOENT');
  });

  test('a descendant that outlives the root is reaped and its output kept', async () => {
    const run = await sh('(sleep 0.3; echo late; exit 3) & echo early');
    expect(await run.keeper.exited).toMatchObject({ code: 0 });
    expect(run.output.out).toBe('early\n');
    await run.keeper.closed;
    expect(
      run.output.out + (sizeOf(run.job.logOut) > 0 ? readFileSync(run.job.logOut, 'utf8') : ''),
    ).toBe('early\nlate\n');
    expect(run.cgroup.members()).toEqual([]);
  });

  test('one terminal at a time; others may watch', async () => {
    const run = await sh('read x');
    const second = await KeeperConnection.open(run.job.socketPath, DEADLINE_MS);
    await expect(second.attach(new Collector(), null, DEADLINE_MS)).rejects.toMatchObject({
      code: 'CONFLICT',
    });
    await second.watch(DEADLINE_MS);
    await second.noteEnd('because of the test', DEADLINE_MS);
    run.keeper.endInput();
    expect(await second.exited).toMatchObject({ code: 1, note: 'because of the test' });
    second.close();
  });

  test('a peer that breaks the protocol loses its connection, not the job', async () => {
    const run = await sh('read x; echo fine');
    for (const bytes of [
      Buffer.alloc(64, 0xff),
      frameOf(99),
      frameOf(3, Buffer.from('not attached')),
    ]) {
      const socket = connect(run.job.socketPath);
      socket.on('error', () => undefined);
      socket.resume();
      socket.write(bytes);
      await new Promise((resolve) => socket.once('close', resolve));
    }
    await run.keeper.writeInput(Buffer.from('\n'));
    expect(await run.keeper.exited).toMatchObject({ code: 0 });
    expect(run.output.out).toBe('fine\n');
  });

  test.skipIf(process.getuid?.() !== 0)(
    'as root, the program runs as its user and owns its ends',
    async () => {
      chmodSync(bench.dir, 0o755);
      const run = await bench.run(
        [
          '/bin/sh',
          '-c',
          'id -u; id -g; id -G; echo again > /proc/self/fd/1; stat -c %u:%g /proc/self/fd/0 -L',
        ],
        { uid: 65_534, gid: 65_534, groups: [65_534] },
      );
      expect(await run.keeper.exited).toMatchObject({ code: 0 });
      expect(run.output.lines()).toEqual(['65534', '65534', '65534', 'again', '65534:65534']);
      const facts = statSync(run.job.logOut, { throwIfNoEntry: false });
      expect(facts).toBeUndefined();
    },
  );

  test('a keeper that is gone is unavailable', async () => {
    const error = await KeeperConnection.open(join(bench.dir, 'none.sock'), DEADLINE_MS).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(PhosError);
    expect(error).toMatchObject({ code: 'UNAVAILABLE' });
  });
});

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

function frameOf(type: number, payload = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt32LE(payload.length, 0);
  header.writeUInt8(type, 8);
  header.writeUInt8(1, 9);
  return Buffer.concat([header, payload]);
}

async function waitUntilSteady(isSteady: () => Promise<boolean>): Promise<void> {
  for (let count = 0; count < 5; ) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    count = (await isSteady()) ? count + 1 : 0;
  }
}
