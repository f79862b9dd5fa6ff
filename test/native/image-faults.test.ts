// SPDX-License-Identifier: Apache-2.0
// A disk that is full at any single write of what phosd itself puts into an image: every attempt
// fails by a typed error, leaves no image, and the next one meets the write after it.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { MANIFEST_VERSION } from '../../src/model/image-manifest.ts';
import { moduleExecArgv } from '../../src/model/locate.ts';

const source = (name: string) =>
  JSON.stringify(fileURLToPath(new URL(`../../src/image/${name}.ts`, import.meta.url)));

/** Commits until it succeeds; prints the code of each failure, and whether an image was there. */
const script = `
  import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
  import { commitImage, createPartial, discardPartial } from ${source('commit')};
  import { verifyImage } from ${source('verify')};
  const directory = process.argv[1] + '/image';
  const owner = { uid: process.getuid(), gid: process.getgid() };
  const manifest = {
    schema: 'phos-image', version: ${MANIFEST_VERSION}, phosVersion: '0.1.0',
    created: '2026-01-02T03:04:05.000Z', chain: '0'.repeat(32), depth: 0, clients: [], parents: [],
    cpu: { criuVersion: '4.1.1', rootPid: 42, bytes: '5', openFiles: [] },
  };
  const job = {
    stdio: 'pipes', argv: ['./steps'], cwd: '/tmp', uid: 0, gid: 0, groups: [], library: null,
  };
  const onProgress = () => undefined;
  const failures = [];
  for (let done = false; !done && failures.length < 40; ) {
    const partial = await createPartial(directory, owner);
    mkdirSync(partial + '/cpu');
    writeFileSync(partial + '/cpu/core.img', 'core');
    const signal = new AbortController().signal;
    try {
      await commitImage({ directory, manifest, job, signal, onProgress });
      done = true;
    } catch (error) {
      failures.push([error.code, existsSync(directory)]);
      await discardPartial(directory);
    }
  }
  await verifyImage(directory, { onProgress, signal: null });
  console.log(JSON.stringify(failures));
`;

/** Fails attempt k at its k-th pass: an attempt that fails so has passed the point k times. */
function faultsAt(point: string): string {
  const attempts = Array.from({ length: 39 }, (_, at) => at + 1);
  return attempts.map((k) => `${point}:${(k * (k + 1)) / 2}:enospc`).join(',');
}

// job.json and manifest.json; each file, folder, the image and its parent; the one rename.
test.each([
  ['image.write', 2],
  ['image.sync', 6],
  ['image.rename', 1],
  ['image.parent', 1],
])('no space at any %s', (point, least) => {
  const folder = mkdtempSync(join(tmpdir(), 'phos-faults-'));
  try {
    const output = execFileSync(
      process.execPath,
      [...moduleExecArgv, '--input-type=module', '-e', script, folder],
      { encoding: 'utf8', timeout: 60_000, env: { ...process.env, PHOS_FAULT: faultsAt(point) } },
    );
    const failures = JSON.parse(output) as [string, boolean][];
    expect(failures.length).toBeGreaterThanOrEqual(least);
    for (const failure of failures) expect(failure).toEqual(['STORAGE', false]);
    expect(readdirSync(folder)).toEqual(['image']);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
