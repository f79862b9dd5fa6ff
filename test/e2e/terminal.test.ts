// SPDX-License-Identifier: Apache-2.0
// A user at a terminal: the program gets a terminal of its own, is dumped, and restored at another
// terminal; what both terminals showed together is every line, once.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { packageRoot } from '../../src/model/locate.ts';
import { whyNoCheckpoint } from '../support/checkpointing.ts';
import { until } from '../support/control.ts';
import { GpuBench, programs, ptx } from '../support/gpu-job.ts';

const missing = await whyNoCheckpoint();
const STEPS = 40;
const WORDS = 4096;
const cli = fileURLToPath(new URL('dist/src/cli/main.js', packageRoot));

/** Gives a command a terminal of 40 lines and 100 columns, and passes on what it shows. */
const TERMINAL = `
import fcntl, os, pty, struct, sys, termios
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 40, 100, 0, 0))
    os.execv(sys.argv[1], sys.argv[1:])
while True:
    try:
        data = os.read(fd, 4096)
    except OSError:
        break
    if not data:
        break
    os.write(1, data)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`;

class Terminal {
  text = '';
  readonly ended: Promise<number>;

  constructor(args: readonly string[], env: Readonly<Record<string, string>>) {
    const command = ['-c', TERMINAL, process.execPath, cli, ...args];
    const child = spawn('python3', command, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.text += text;
    });
    this.ended = new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code) => resolve(code ?? -1));
    });
  }

  /** What the program counted; phos itself writes to the same terminal. */
  lines(): string[] {
    return this.text.split(/\r?\n/).filter((line) => /^(parent \d|done)/.test(line));
  }
}

describe.skipIf(missing !== null)(
  `a program at a terminal${missing ? ` (skipped: ${missing})` : ''}`,
  () => {
    let bench: GpuBench;
    beforeEach(async () => {
      bench = await GpuBench.open();
    });
    afterEach(() => bench.close());

    test('shows every line once across dump and restore', async () => {
      const gate = bench.gate();
      const image = bench.path('image');
      const family = [programs.family, ptx, String(STEPS), '5000', gate.path, 'alone'];
      const first = new Terminal(['run', '--', ...family], bench.phos.env);
      await until('eight lines', () => first.lines().length >= 8);
      const [run] = (await bench.list()).runs;
      expect(run?.stdio).toBe('pty');
      await bench.dump(run?.pid ?? 0, image);
      expect(await first.ended).toBe(137);
      expect(first.text).toContain('checkpointed to');
      gate.open();
      const second = new Terminal(['restore', image, '--quiet'], bench.phos.env);
      expect(await second.ended).toBe(0);
      let total = 0;
      const wanted = Array.from({ length: STEPS }, (_, step) => {
        total += (step + 1) * WORDS;
        return `parent ${step} ${total}`;
      });
      expect([...first.lines(), ...second.lines()]).toEqual([...wanted, 'done']);
      // A line feed of the program is passed on as its own terminal gave it.
      expect(first.text + second.text).not.toContain('\r\r');
    });
  },
);
