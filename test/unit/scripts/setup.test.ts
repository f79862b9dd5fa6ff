// SPDX-License-Identifier: Apache-2.0
// The set-up's own parts: stamps notice changes, steps have deadlines, and one set-up waits for
// another.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { fingerprint, isFresh, writeStamp } from '../../../scripts/setup/stamp.mjs';
import { isGone } from '../../support/is-gone.ts';
import { capture, root, SetupError, step } from '../../../scripts/setup/step.mjs';

let folder = '';
let path = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'phos-setup-'));
  path = relative(root, folder);
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe('stamps', () => {
  test('change with a file that is added, touched, grown or removed', () => {
    const all = [fingerprint([path])];
    writeFileSync(join(folder, 'a.ts'), 'one');
    all.push(fingerprint([path]));
    utimesSync(join(folder, 'a.ts'), 1000, 1000);
    all.push(fingerprint([path]));
    writeFileSync(join(folder, 'a.ts'), 'three');
    utimesSync(join(folder, 'a.ts'), 1000, 1000);
    all.push(fingerprint([path]));
    expect(new Set(all).size).toBe(4);
    expect(fingerprint([path])).toBe(all[3]);
    rmSync(join(folder, 'a.ts'));
    expect(fingerprint([path])).toBe(all[0]);
  });

  test('leave out what is not wanted', () => {
    const before = fingerprint([path], (name: string) => name.endsWith('.ts'));
    writeFileSync(join(folder, 'notes.md'), 'text');
    expect(fingerprint([path], (name: string) => name.endsWith('.ts'))).toBe(before);
  });

  test('are fresh only with the same value', () => {
    const stamp = join(path, 'deep/stamp');
    expect(isFresh(stamp, 'x')).toBe(false);
    writeStamp(stamp, 'x');
    expect(isFresh(stamp, 'x')).toBe(true);
    expect(isFresh(stamp, 'y')).toBe(false);
  });
});

describe('steps', () => {
  test('a command that does not end is ended with all that it started', async () => {
    const result = await capture(['sh', '-c', 'sleep 600 & echo $!; wait'], { timeoutMs: 300 });
    expect(result.timedOut).toBe(true);
    const pid = Number(result.stdout);
    await expect.poll(() => isGone(pid), { timeout: 10_000 }).toBe(true);
  });

  test('a program that is not there is a failed step, with the cure', async () => {
    const failed = step('nothing', ['phos-no-such-program'], {
      timeoutMs: 5000,
      quietMs: 60_000,
      cure: 'install it',
    });
    await expect(failed).rejects.toThrow(SetupError);
    await expect(failed).rejects.toThrow(/To mend it: install it/);
  });
});

test('a second set-up waits until the first gives the lock back', async () => {
  const lock = new URL('../../../scripts/setup/lock.mjs', import.meta.url).href;
  // Takes the lock, says so, and gives it back when its stdin ends.
  const program = `const { takeLock } = await import(${JSON.stringify(lock)});
    const release = await takeLock(${JSON.stringify(join(folder, 'lock'))});
    process.stdout.write('held');
    process.stdin.on('end', release).resume();`;
  const holder = (): { held: Promise<void>; end: () => void; gone: Promise<void> } => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    return {
      held: new Promise((resolve) => child.stdout.once('data', () => resolve())),
      end: () => child.stdin.end(),
      gone: new Promise((resolve) => child.once('close', () => resolve())),
    };
  };
  const events: string[] = [];
  const first = holder();
  await first.held;
  const second = holder();
  const secondHeld = second.held.then(() => events.push('second holds'));
  await new Promise((resolve) => setTimeout(resolve, 300));
  events.push('first gives back');
  first.end();
  await secondHeld;
  second.end();
  await Promise.all([first.gone, second.gone]);
  expect(events).toEqual(['first gives back', 'second holds']);
});
