// SPDX-License-Identifier: Apache-2.0
// Two readers that share no code, on folders of the native writer: both take what is whole, and
// both refuse whatever was altered, cut short or taken away.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readChunks } from '../../src/image/gpu-extents.ts';
import { openGpuFolder, verifyGpuFolder } from '../../src/image/gpu-folder.ts';
import { verifyImage } from '../../src/native/native.ts';
import { imageTool, type ToolSettings } from '../support/image-tool.ts';
import { makeFolder, plainImage } from './support.ts';

const MIB = 1 << 20;
const hexKey = '8f'.repeat(32);
const key = Buffer.from(hexKey, 'hex');
let folder: ReturnType<typeof makeFolder>;

beforeEach(() => {
  folder = makeFolder();
});
afterEach(() => folder.dispose());

function place(name: string): string {
  mkdirSync(`${folder.path}/${name}`);
  return `${folder.path}/${name}/gpu-0`;
}

async function byScript(directory: string, with_: Buffer | null): Promise<string> {
  const opened = await openGpuFolder(directory, with_);
  const hash = createHash('sha256');
  await readChunks(opened.index, with_, (chunk, plain) => {
    hash.update(`${chunk.address} ${chunk.bytes}\n`).update(plain);
  });
  return hash.digest('hex');
}

async function byAddon(directory: string, with_: Buffer | null): Promise<bigint> {
  const options = { ...plainImage, content: true, key: with_ };
  return (await verifyImage(directory, options, () => undefined)).deviceBytes;
}

/** The code with which each reader refuses; '' when it takes the folder. */
async function verdicts(directory: string, with_: Buffer | null): Promise<[string, string]> {
  const codeOf = (thrown: unknown): string => (thrown as { code: string }).code;
  const script = openGpuFolder(directory, with_)
    .then((opened) => verifyGpuFolder(opened, with_, () => undefined))
    .then(() => '', codeOf);
  return [await script, await byAddon(directory, with_).then(() => '', codeOf)];
}

describe('two readers', () => {
  const kinds: readonly (readonly [string, ToolSettings, Buffer | null])[] = [
    ['plain', { zero: 30 }, null],
    ['with hashes', { content: 1, share: 1 }, null],
    ['compressed', { compress: 1, kind: 'text' }, null],
    ['sealed', { key: hexKey, zero: 30 }, key],
    ['compressed and sealed', { key: hexKey, compress: 1, kind: 'text' }, key],
  ];
  it.each(kinds)('read the same of a folder that is %s', async (_, settings, with_) => {
    const directory = place('one');
    const bytes = 7 * MIB + 4096;
    const saved = await imageTool('write', directory, { bytes, ...settings });
    // The tool itself compares what comes back with what was made up.
    await imageTool('read', directory, { bytes, ...settings });
    expect(await byAddon(directory, with_)).toBe(BigInt(saved['deviceBytes'] ?? 0));
    const opened = await openGpuFolder(directory, with_);
    expect(opened.index.chunks.filter((chunk) => chunk.zero).length).toBe(saved['zeroChunks']);
    await verifyGpuFolder(opened, with_, () => undefined);
  });

  it('follow a chain of parents, and refuse it when one is altered or gone', async () => {
    const names = ['a', 'b', 'c'].map(place);
    const [first = '', second = '', third = ''] = names;
    const all = { bytes: 24 * MIB, changed: 30, lanes: 2 };
    await imageTool('write', first, all);
    const next = await imageTool('write', second, { ...all, version: 1, parent: first });
    expect(next['parentChunks']).toBeGreaterThan(0);
    await imageTool('write', third, { ...all, version: 2, parent: second });
    await imageTool('read', third, { ...all, version: 2 });
    expect(await verdicts(third, null)).toEqual(['', '']);
    const alone = place('alone');
    await imageTool('write', alone, { ...all, version: 2 });
    expect(await byScript(third, null)).toBe(await byScript(alone, null));
    const opened = await openGpuFolder(third, null);
    const hit = opened.index.chunks.some(
      (chunk) => chunk.source !== 0 && opened.index.sources[chunk.source]?.directory === first,
    );
    expect(hit).toBe(true);
    const chunk = opened.index.chunks.find(({ source }) => source === 1);
    const path = `${opened.index.sources[1]?.directory}/data-${chunk?.lane}`;
    const data = readFileSync(path);
    const at = Number(chunk?.offset);
    writeFileSync(path, Buffer.from(data).fill(data.readUInt8(at) ^ 1, at, at + 1));
    expect(await verdicts(third, null)).toEqual(['IMAGE_INVALID', 'IMAGE_INVALID']);
    writeFileSync(path, data);
    expect(await verdicts(third, null)).toEqual(['', '']);
    rmSync(first, { recursive: true });
    expect(await verdicts(third, null)).toEqual(['IMAGE_INVALID', 'IMAGE_INVALID']);
  });

  it('ask for the key, and tell a wrong one from damage', async () => {
    const directory = place('sealed');
    await imageTool('write', directory, { bytes: 2 * MIB, key: hexKey });
    expect(await verdicts(directory, null)).toEqual(['PERMISSION', 'PERMISSION']);
    expect(await verdicts(directory, Buffer.alloc(32, 1))).toEqual(['PERMISSION', 'PERMISSION']);
    expect(await verdicts(directory, key)).toEqual(['', '']);
  });

  it('agree that nothing damaged is an image', async () => {
    const sealed = place('sealed');
    const plain = place('plain');
    await imageTool('write', sealed, { bytes: 3 * MIB, key: hexKey, content: 1 });
    await imageTool('write', plain, { bytes: 3 * MIB, compress: 1, kind: 'text', zero: 20 });
    const files = [sealed, plain].flatMap((directory) =>
      readdirSync(directory).map((name) => ({ directory, path: `${directory}/${name}` })),
    );
    const damage = fc.record({
      file: fc.constantFrom(...files),
      // Half of them in the first bytes, where the header is.
      at: fc.oneof(fc.integer({ min: 0, max: 300 }), fc.nat()),
      how: fc.constantFrom('flip', 'cut'),
      bit: fc.integer({ min: 0, max: 7 }),
    });
    await fc.assert(
      fc.asyncProperty(damage, async ({ file, at, how, bit }) => {
        const before = readFileSync(file.path);
        const where = at % before.length;
        const after = Buffer.from(how === 'cut' ? before.subarray(0, where) : before);
        if (how === 'flip') after.writeUInt8(after.readUInt8(where) ^ (1 << bit), where);
        writeFileSync(file.path, after);
        try {
          const [script, addon] = await verdicts(
            file.directory,
            file.directory === sealed ? key : null,
          );
          expect(script).toBe(addon);
          expect(['IMAGE_INVALID', 'UNSUPPORTED', 'PERMISSION']).toContain(script);
        } finally {
          writeFileSync(file.path, before);
        }
      }),
      { numRuns: 40 },
    );
    expect(await verdicts(sealed, key)).toEqual(['', '']);
  });
});
