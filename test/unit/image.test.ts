// SPDX-License-Identifier: Apache-2.0
// The image on disk, without device state: commit, read, verify, and every way it can be bad.
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  checkTarget,
  commitImage,
  createPartial,
  discardPartial,
  partialOf,
  type WithoutFiles,
} from '../../src/image/commit.ts';
import { encodeManifest, readManifest } from '../../src/image/manifest.ts';
import { inspectImage, verifyImage } from '../../src/image/verify.ts';
import type { JobFile } from '../../src/model/image-manifest.ts';

const manifest: WithoutFiles = {
  schema: 'phos-image',
  version: 2,
  phosVersion: '0.1.0',
  created: '2026-01-02T03:04:05.000Z',
  clients: [],
  cpu: { criuVersion: '4.1.1', rootPid: 42, bytes: '5', openFiles: [] },
  chain: '00112233445566778899aabbccddeeff',
  depth: 0,
  parents: [],
};
const job: JobFile = {
  stdio: 'pipes',
  argv: ['./steps'],
  cwd: '/tmp',
  uid: 0,
  gid: 0,
  groups: [],
  library: null,
};
const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
const quiet = { onProgress: () => undefined, signal: null };
let folder: string;
let image: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'phos-image-'));
  image = join(folder, 'one');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function fill(): Promise<void> {
  const partial = await createPartial(image, owner);
  mkdirSync(join(partial, 'cpu'));
  writeFileSync(join(partial, 'cpu', 'pages-1.img'), 'pages');
  writeFileSync(join(partial, 'cpu', 'core.img'), 'core of it');
}
function commit(): Promise<bigint> {
  const signal = new AbortController().signal;
  return commitImage({ directory: image, manifest, job, signal, onProgress: () => undefined });
}

describe('image', () => {
  it('is there, whole, after the commit, and nothing else is', async () => {
    await checkTarget(image);
    await fill();
    const bytes = await commit();
    expect(bytes).toBeGreaterThan(15n);
    expect(readdirSync(folder)).toEqual(['one']);
    const found = await verifyImage(image, quiet);
    expect(found.manifest.files.map((file) => file.name)).toEqual([
      'cpu/core.img',
      'cpu/pages-1.img',
      'job.json',
    ]);
  });

  it('tells how far it is', async () => {
    await fill();
    await commit();
    const seen: [bigint, bigint][] = [];
    await verifyImage(image, { onProgress: (...now) => seen.push(now), signal: null });
    expect(seen.at(-1)?.[0]).toBe(seen.at(-1)?.[1]);
    expect(seen.length).toBeGreaterThan(2);
  });

  it('is not there before the commit, and can be taken back', async () => {
    await fill();
    await expect(readManifest(image)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(readManifest(partialOf(image))).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
    await discardPartial(image);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('never goes where something is', async () => {
    mkdirSync(image);
    await checkTarget(image);
    writeFileSync(join(image, 'mine'), 'x');
    await expect(checkTarget(image)).rejects.toMatchObject({ code: 'CONFLICT' });
    await fill();
    await expect(commit()).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(readFileSync(join(image, 'mine'), 'utf8')).toBe('x');
  });

  it('needs a parent folder, and refuses a file in its place', async () => {
    await expect(checkTarget(join(folder, 'no', 'such'))).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    writeFileSync(image, 'x');
    await expect(checkTarget(image)).rejects.toMatchObject({ code: 'CONFLICT' });
  });

  // The dump gave up while the last fsync was under way, and told that there is no image.
  it('is taken out of its place again when nobody waits for it any more', async () => {
    await fill();
    const signal = {
      throwIfAborted: () => {
        if (existsSync(image)) throw new Error('given up');
      },
    } as AbortSignal;
    const late = commitImage({
      directory: image,
      manifest,
      job,
      signal,
      onProgress: () => undefined,
    });
    await expect(late).rejects.toThrow('given up');
    expect(existsSync(image)).toBe(false);
    await discardPartial(image);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('is not committed after a cancel', async () => {
    await fill();
    const aborted = AbortSignal.abort();
    await expect(
      commitImage({
        directory: image,
        manifest,
        job,
        signal: aborted,
        onProgress: () => undefined,
      }),
    ).rejects.toThrow();
    expect(existsSync(image)).toBe(false);
  });

  it.each([
    ['a cut file', () => truncateSync(join(image, 'cpu', 'core.img'), 3), 'core.img'],
    ['a longer file', () => appendFileSync(join(image, 'cpu', 'core.img'), 'x'), 'core.img'],
    ['a missing file', () => rmSync(join(image, 'cpu', 'core.img')), 'missing'],
    ['a missing manifest', () => rmSync(join(image, 'manifest.json')), 'manifest.json'],
    ['an altered job', () => writeFileSync(join(image, 'job.json'), '{}'), 'job.json'],
    ['a cut manifest', () => truncateSync(join(image, 'manifest.json'), 90), 'manifest.json'],
    [
      'an altered manifest',
      () => {
        const path = join(image, 'manifest.json');
        writeFileSync(path, readFileSync(path, 'utf8').replace('"rootPid": 42', '"rootPid": 43'));
      },
      'checksum',
    ],
  ])('is refused with %s', async (_, spoil, named) => {
    await fill();
    await commit();
    spoil();
    const error = await inspectImage(image).catch((thrown: Error) => thrown);
    expect(error).toMatchObject({ code: 'IMAGE_INVALID' });
    expect((error as Error).message).toContain(named);
  });

  it('is refused when a byte of a file changed', async () => {
    await fill();
    await commit();
    writeFileSync(join(image, 'cpu', 'core.img'), 'Core of it');
    await inspectImage(image);
    await expect(verifyImage(image, quiet)).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
  });

  it('of another version is unsupported, by name', async () => {
    mkdirSync(image);
    const text = encodeManifest({ ...manifest, version: 3 as never, files: [] });
    writeFileSync(join(image, 'manifest.json'), text);
    const error = await readManifest(image).catch((thrown: Error) => thrown);
    expect(error).toMatchObject({ code: 'UNSUPPORTED' });
    expect((error as Error).message).toContain('version 3');
  });
});
