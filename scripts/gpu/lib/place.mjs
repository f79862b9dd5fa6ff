// SPDX-License-Identifier: Apache-2.0
// Where this installation is (a pack that was unpacked, or a tree that was built), and which driver
// the suites run on.

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run, start } from './processes.mjs';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');
export const built = (path) => join(root, 'build', path);
export const source = (path) => join(root, path);

const places = [
  '/usr/local/nvidia/lib64',
  '/usr/lib/x86_64-linux-gnu',
  '/usr/lib64',
  '/usr/lib/wsl/lib',
  '/run/nvidia/driver/usr/lib64',
];

/** The real driver of this machine; null where there is none. */
export function realDriver() {
  const asked = process.env['PHOS_CUDA_LIBRARY'];
  if (asked !== undefined && asked !== '') return asked;
  const named = (process.env['LD_LIBRARY_PATH'] ?? '').split(':').filter((one) => one !== '');
  const found = [...named, ...places].find((folder) => existsSync(join(folder, 'libcuda.so.1')));
  return found === undefined ? null : join(found, 'libcuda.so.1');
}

/** True where a device can be opened: a driver library alone is not a GPU. */
export function hasGpu() {
  return realDriver() !== null && existsSync('/dev/nvidiactl');
}

/**
 * A phosd in folders that nobody else uses, on the `cuda` or the `sim` driver.
 * close() stops it and everything under it.
 */
export class Phos {
  constructor(driver) {
    this.driver = driver;
    this.folder = mkdtempSync(join(tmpdir(), 'phos-gpu-'));
    this.logs = join(this.folder, 'log');
    this.env = {
      PHOS_DRIVER: driver,
      PHOS_RUNTIME_DIR: join(this.folder, 'run'),
      PHOS_STATE_DIR: join(this.folder, 'state'),
      PHOS_LOG_DIR: this.logs,
      ...(driver === 'cuda' ? { PHOS_CUDA_LIBRARY: realDriver() } : {}),
    };
    const packed = join(root, 'bin/phos');
    this.program = existsSync(packed)
      ? [packed]
      : [process.execPath, join(root, 'dist/src/cli/main.js')];
    const library = driver === 'cuda' ? dirname(realDriver()) : built('lib/sim');
    const path = process.env['LD_LIBRARY_PATH'];
    /** What lets a program find the driver without phos. */
    this.nativeEnv = {
      LD_LIBRARY_PATH: path === undefined || path === '' ? library : `${library}:${path}`,
    };
  }

  /** `phos ARGS`, started. */
  start(args, options) {
    return start([...this.program, ...args], { ...options, env: { ...this.env, ...options.env } });
  }

  /** `phos ARGS` to its end. */
  run(args, options) {
    return this.start(args, options).ended;
  }

  /** `phos ARGS --json` to its end, which must be a success. */
  async json(args, deadlineMs = 60_000) {
    const { code, stdout, stderr, late } = await this.run([...args, '--json'], { deadlineMs });
    if (code === 0) return JSON.parse(stdout);
    const why = late ? `no end within ${deadlineMs} ms` : `exit ${code}`;
    throw new Error(`phos ${args.join(' ')}: ${why}: ${(stderr || stdout).trim().slice(-1200)}`);
  }

  /** The client of a program under phos: the one with the highest pid if there are several. */
  async clientOf(jobPid) {
    const { clients } = await this.json(['ps']);
    return clients.find(({ pid }) => pid === jobPid) ?? null;
  }

  /** Lines of the logs that tell of trouble. */
  troubles() {
    if (!existsSync(this.logs)) return [];
    const bad = /"level":(?:40|50|60)|Fatal|Assertion|terminate called/;
    return readdirSync(this.logs)
      .filter((name) => name.endsWith('.log'))
      .flatMap((name) =>
        readFileSync(join(this.logs, name), 'utf8')
          .split('\n')
          .filter((line) => bad.test(line))
          .slice(-5)
          .map((line) => `${name}: ${line.slice(0, 600)}`),
      )
      .slice(-40);
  }

  async close() {
    await this.run(['stop', '--force'], { deadlineMs: 30_000 });
    const troubles = this.troubles();
    rmSync(this.folder, { recursive: true, force: true });
    return troubles;
  }
}

/** Runs the same command without phos. */
export function runNative(phos, command, options) {
  return run(command, { ...options, env: { ...phos.nativeEnv, ...options.env } });
}

/** Runs it under phos. */
export function runUnder(phos, command, options) {
  return phos.run(['run', '--', ...command], options);
}
