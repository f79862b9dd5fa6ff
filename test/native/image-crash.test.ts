// SPDX-License-Identifier: Apache-2.0
// A crash at any moment of writing an image: the calls of a real writer are done again up to every
// point, with the last write torn, and with whatever was not synced lost. What is there then is no
// image, or the whole one.
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifyImage } from '../../src/image/verify.ts';
import { moduleExecArgv, nativeUrl } from '../../src/model/locate.ts';
import { Disk, type DiskCall, readCalls } from '../support/recorded-disk.ts';
import { makeFolder } from './support.ts';

const run = promisify(execFile);
const script = fileURLToPath(new URL('../support/write-image.ts', import.meta.url));
let folder: ReturnType<typeof makeFolder>;
let calls: readonly DiskCall[] = [];
let whole: Disk;
let places = 0;

beforeAll(async () => {
  folder = makeFolder();
  const under = `${folder.path}/executors`;
  const log = `${folder.path}/calls`;
  const library = nativeUrl('test/subjects/record_calls.so', process.env['PHOS_BUILD_DIR'] ?? null);
  await run(process.execPath, [...moduleExecArgv, script, `${under}/image`], {
    env: {
      ...process.env,
      LD_PRELOAD: fileURLToPath(library),
      PHOS_RECORD: log,
      PHOS_RECORD_UNDER: under,
    },
    timeout: 100_000,
  });
  calls = readCalls(readFileSync(log));
  whole = replay(calls);
});
afterAll(() => folder.dispose());

function replay(some: readonly DiskCall[]): Disk {
  const disk = new Disk();
  for (const call of some) disk.apply(call);
  return disk;
}

/** What a reader says of a crashed disk: 'absent', 'whole', or what is wrong. */
async function judge(disk: Disk, kept: 'all' | 'synced'): Promise<string> {
  if (!disk.folders.has('image')) return 'absent';
  places += 1;
  const place = `${folder.path}/${places}`;
  mkdirSync(place);
  disk.materialise(place, kept);
  try {
    await verifyImage(`${place}/image`, { onProgress: () => undefined, signal: null });
  } catch (thrown) {
    return `refused: ${(thrown as Error).message}`;
  } finally {
    rmSync(place, { recursive: true });
  }
  const differing = [...whole.files].filter(([path, { data }]) => {
    const found = disk.files.get(path);
    return found === undefined || !(kept === 'all' ? found.data : found.durable).equals(data);
  });
  return differing.length === 0 ? 'whole' : `accepted, and wrong: ${differing[0]?.[0]}`;
}

describe('an image after a crash', () => {
  it('was recorded whole', async () => {
    const names = new Set(calls.map((call) => call.op));
    expect([...names].sort()).toEqual(
      expect.arrayContaining(['create', 'mkdir', 'rename', 'sync', 'unlink', 'write']),
    );
    expect(calls.filter((call) => call.path.includes('gpu-0/data-')).length).toBeGreaterThan(4);
    expect(await judge(whole, 'all')).toBe('whole');
  });

  it('is absent or whole after every call, and after half of it', async () => {
    for (let count = 0; count <= calls.length; count += 1) {
      const disk = replay(calls.slice(0, count));
      for (const kept of ['all', 'synced'] as const) {
        expect(await judge(disk, kept), `after ${count} calls, ${kept}`).toMatch(
          /^absent$|^whole$/,
        );
      }
      const last = calls[count];
      if (last?.op !== 'write') continue;
      disk.apply({ ...last, data: last.data.subarray(0, last.data.length >> 1) });
      expect(await judge(disk, 'all'), `in call ${count}`).toMatch(/^absent$|^whole$/);
    }
  });

  it('would not be, if the writer did not sync: the test can tell', async () => {
    const careless = replay(calls.filter((call) => call.op !== 'sync'));
    expect(await judge(careless, 'synced')).toMatch(/^refused/);
  });

  it('is never taken from its temporary sibling before everything is there', async () => {
    const renamed = calls.findIndex((call) => call.op === 'rename');
    const disk = replay(calls.slice(0, renamed));
    const manifest = disk.files.get('image.partial/manifest.json');
    expect(manifest?.durable.equals(manifest.data)).toBe(true);
    // Everything else was on the disk before the manifest was begun.
    const begun = calls.findIndex((call) => call.path === 'image.partial/manifest.json');
    const unsynced = [...replay(calls.slice(0, begun)).files].filter(
      ([, file]) => !file.durable.equals(file.data),
    );
    expect(unsynced.map(([path]) => path)).toEqual([]);
  });
});
