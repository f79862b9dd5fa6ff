// SPDX-License-Identifier: Apache-2.0
// phos clean takes what dead jobs left, and nothing that lives or belongs to somebody else.
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cleanFolder } from '../../src/image/clean.ts';
import { createPartial, partialOf } from '../../src/image/commit.ts';
import { deadlines } from '../../src/model/limits.ts';

const run = promisify(execFile);
const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'phos-clean-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function partial(name: string, mark?: string): Promise<string> {
  const path = await createPartial(join(folder, name), owner);
  if (mark !== undefined) writeFileSync(join(path, '.owner'), mark);
  return path;
}

describe('clean', () => {
  it('leaves what a living process writes, and takes what a dead one left', async () => {
    const mine = await partial('mine');
    // The pid is ours, but it was another process that had it.
    const old = await partial('old', JSON.stringify({ pid: process.pid, startTime: '1' }));
    const gone = await partial('gone', JSON.stringify({ pid: 2 ** 22 + 1, startTime: '1' }));
    mkdirSync(join(folder, 'other'));
    expect(await cleanFolder(folder, true)).toEqual({ removed: [gone, old], kept: [mine] });
    expect(existsSync(gone)).toBe(true);
    await cleanFolder(folder, false);
    expect([mine, old, gone, join(folder, 'other')].map((path) => existsSync(path))).toEqual([
      true,
      false,
      false,
      true,
    ]);
  });

  it('waits before it takes what names no writer', async () => {
    const path = partialOf(join(folder, 'bare'));
    mkdirSync(path);
    expect((await cleanFolder(folder, false)).kept).toEqual([path]);
    const then = new Date(Date.now() - deadlines.partialIdleMs - 60_000);
    utimesSync(path, then, then);
    expect((await cleanFolder(folder, false)).removed).toEqual([path]);
    expect(existsSync(path)).toBe(false);
  });

  it('removes sockets that nobody listens on, and no others', async () => {
    mkdirSync(join(folder, 'executors'));
    const paths = ['control.sock', 'executors/a.sock', 'executors/b.sock'].map((name) =>
      join(folder, name),
    );
    const [live = '', dead = '', file = ''] = paths;
    const listening = createServer().listen(live);
    // Closing unlinks the socket: it must end without a chance to.
    const script =
      `require('node:net').createServer().listen(${JSON.stringify(dead)},` +
      " () => process.kill(process.pid, 'SIGKILL'))";
    await run(process.execPath, ['-e', script]).catch(() => undefined);
    writeFileSync(file, '');
    expect(existsSync(dead)).toBe(true);
    const { stdout } = await run(
      process.execPath,
      ['--import', 'tsx', main, 'clean', '--json', folder],
      { env: { ...process.env, PHOS_RUNTIME_DIR: folder }, timeout: 50_000 },
    );
    expect(JSON.parse(stdout)).toEqual({ removed: [dead], kept: [], dryRun: false });
    expect(paths.map((path) => existsSync(path))).toEqual([true, false, true]);
    listening.close();
  });
});
