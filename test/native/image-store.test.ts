// SPDX-License-Identifier: Apache-2.0
// Images that need each other: chains, what may go, what changed, copies that stand alone, keys.
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { compactImage } from '../../src/image/compact.ts';
import { diffImages } from '../../src/image/diff.ts';
import { noDemands, type Trust } from '../../src/image/keys.ts';
import { readManifest } from '../../src/image/manifest.ts';
import { planParent } from '../../src/image/parents.ts';
import { listImages, planGc, removeImage } from '../../src/image/store.ts';
import { inspectImage, verifyImage } from '../../src/image/verify.ts';
import { limits } from '../../src/model/limits.ts';
import { makeImage } from '../support/made-image.ts';
import { makeFolder } from './support.ts';

const key = Buffer.alloc(32, 7);
let folder: ReturnType<typeof makeFolder>;
let store: string;

beforeEach(() => {
  folder = makeFolder();
  store = `${folder.path}/executors`;
});
afterEach(() => folder.dispose());

const verify = (directory: string, trust: Trust = noDemands) =>
  verifyImage(directory, { onProgress: () => undefined, signal: null, trust });
const created = (minute: number): string => `2026-01-02T03:0${minute}:00.000Z`;
const changing = (version: number) => ({ changed: 40, version });

/** a <- b <- c, each with some chunks of the one before. */
async function chain(): Promise<{ a: string; b: string; c: string }> {
  const a = await makeImage(`${store}/a`, { created: created(1), tool: changing(0) });
  const b = await makeImage(`${store}/b`, { created: created(2), parent: a, tool: changing(1) });
  const c = await makeImage(`${store}/c`, { created: created(3), parent: b, tool: changing(2) });
  return { a, b, c };
}

describe('a chain of images', () => {
  it('is read through, moved as a whole, and refused with another parent', async () => {
    const { a, b, c } = await chain();
    await verify(c);
    const { depth, chain: id, parents } = await readManifest(c);
    expect(depth).toBe(2);
    expect(id).toBe((await readManifest(a)).chain);
    expect(parents.map((one) => one.directory)).toContain('a');
    renameSync(store, `${folder.path}/elsewhere`);
    const moved = (path: string): string => path.replace('/executors/', '/elsewhere/');
    await verify(moved(c));
    rmSync(moved(a), { recursive: true });
    for (const broken of [moved(b), moved(c)]) {
      await expect(inspectImage(broken)).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
    }
    // Another image under the parent's name, whole in itself.
    await makeImage(moved(a), { tool: changing(0) });
    await expect(verify(moved(c))).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
  });

  it('is not longer than the specification says', async () => {
    const a = await makeImage(`${store}/a`);
    const path = `${a}/manifest.json`;
    const { encodeManifest } = await import('../../src/image/manifest.ts');
    const { checksum: _, signature: __, ...body } = await readManifest(a);
    writeFileSync(path, encodeManifest({ ...body, depth: limits.maxChainDepth - 1 }));
    expect((await planParent(a, noDemands)).depth).toBe(limits.maxChainDepth);
    writeFileSync(path, encodeManifest({ ...body, depth: limits.maxChainDepth }));
    await expect(planParent(a, noDemands)).rejects.toMatchObject({ code: 'CONFLICT' });
  });

  it('ends where an image is compacted: the copy is the same and needs nothing', async () => {
    const { a, b, c } = await chain();
    const alone = `${store}/alone`;
    const options = { trust: noDemands, signKey: null, compress: 1, onProgress: () => undefined };
    await compactImage(c, alone, options);
    const [client] = await diffImages(c, alone, noDemands);
    expect(client).toMatchObject({ in: 'both', objects: [], changed: { chunks: 0 } });
    expect(client?.same.chunks).toBeGreaterThan(4);
    for (const gone of [a, b, c]) rmSync(gone, { recursive: true });
    await verify(alone);
    expect(await readManifest(alone)).toMatchObject({ depth: 0, parents: [] });
    await expect(compactImage(alone, alone, options)).rejects.toMatchObject({ code: 'CONFLICT' });
  });
});

describe('a folder of images', () => {
  it('tells of each image, and why one cannot be used', async () => {
    const { a } = await chain();
    writeFileSync(`${a}/manifest.json`, '{');
    const found = await listImages(store, noDemands);
    expect(found.others.map((one) => one.name)).toEqual(['a']);
    expect(found.images.map((one) => [one.name, one.problem === null])).toEqual([
      ['b', false],
      ['c', false],
    ]);
    await expect(planGc(store, 1, noDemands)).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
  });

  it('keeps what newer images need, and gives up the rest', async () => {
    const { c } = await chain();
    await makeImage(`${store}/d`, { created: created(4), tool: { zero: 100 }, parent: c });
    const plan = await planGc(store, 1, noDemands);
    // d is all zero: nothing of the older ones is in it but two variables.
    const names = (list: readonly { readonly name: string }[]): string[] =>
      list.map((one) => one.name);
    expect(names(plan.keep)).toEqual(['d']);
    expect([...names(plan.needed), ...names(plan.remove)].sort()).toEqual(['a', 'b', 'c']);
    expect(names(plan.remove)).toEqual(names(plan.remove).toSorted().toReversed());
    for (const image of plan.remove) {
      await removeImage(image.directory);
      for (const left of (await listImages(store, noDemands)).images) {
        expect(left.problem).toBeNull();
      }
    }
    await verify(`${store}/d`);
    expect(readdirSync(store).sort()).toEqual(['d', ...names(plan.needed)].sort());
  });

  it('shows what changed between two images', async () => {
    const { a, b } = await chain();
    const [client] = await diffImages(a, b, noDemands);
    const all = (client?.same.chunks ?? 0) + (client?.changed.chunks ?? 0);
    expect(client?.changed.chunks).toBeGreaterThan(0);
    expect(client).toMatchObject({ added: { chunks: 0 }, removed: { chunks: 0 }, objects: [] });
    expect(all).toBe((await verify(b)).manifest.clients.length * 6);
  });
});

describe('keys of an image', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const stranger = generateKeyPairSync('ed25519').publicKey;
  const signed = { key: null, signKey: privateKey };
  const demand = (...trusted: (typeof publicKey)[]): Trust => ({
    key: null,
    trusted,
    requireSignature: true,
  });

  it('make an unsigned or a strangely signed image refused where one is demanded', async () => {
    const bare = await makeImage(`${store}/bare`);
    await expect(verify(bare, demand(publicKey))).rejects.toMatchObject({ code: 'PERMISSION' });
    const image = await makeImage(`${store}/signed`, { keys: signed });
    await verify(image);
    await verify(image, demand(stranger, publicKey));
    await expect(verify(image, demand(stranger))).rejects.toMatchObject({ code: 'PERMISSION' });
  });

  it('find a manifest that was signed and altered, or whose chunks are not covered', async () => {
    const image = await makeImage(`${store}/signed`, { keys: signed });
    const path = `${image}/manifest.json`;
    const text = readFileSync(path, 'utf8');
    const value = /"value": "(.)/.exec(text)?.[1] === '0' ? '1' : '0';
    writeFileSync(path, text.replace(/"value": "./, `"value": "${value}`));
    await expect(verify(image)).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
    const loose = await makeImage(`${store}/loose`, { keys: signed, tool: { content: 0 } });
    await verify(loose);
    await expect(verify(loose, demand(publicKey))).rejects.toMatchObject({
      code: 'IMAGE_INVALID',
    });
  });

  it('hide an encrypted image from whoever has not its key', async () => {
    const keys = { key, signKey: null };
    const a = await makeImage(`${store}/a`, { keys, tool: changing(0) });
    const b = await makeImage(`${store}/b`, { keys, parent: a, tool: changing(1) });
    expect(readFileSync(`${b}/manifest.json`, 'utf8')).not.toContain('steps');
    await expect(verify(b)).rejects.toMatchObject({ code: 'PERMISSION' });
    const wrong = { ...noDemands, key: Buffer.alloc(32, 8) };
    await expect(verify(b, wrong)).rejects.toMatchObject({ code: 'PERMISSION' });
    await verify(b, { ...noDemands, key });
    expect(existsSync(`${b}/.owner`)).toBe(false);
  });
});
