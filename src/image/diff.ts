// SPDX-License-Identifier: Apache-2.0
// What two images of a program differ in: objects, and chunks of device memory.
import { join } from 'node:path';
import { readPlain } from './gpu-extents.ts';
import { type Chunk, type GpuIndex, readGpuIndex } from './gpu-index.ts';
import { readGpuObjects, type SavedObject } from './gpu-objects.ts';
import type { Trust } from './keys.ts';
import { readManifest } from './manifest.ts';
import { checkParents } from './parents.ts';

export interface ObjectChange {
  readonly change: 'added' | 'removed' | 'changed';
  readonly handle: bigint;
  /** Call that made it. */
  readonly createdBy: string;
}

export interface ChunkCounts {
  readonly chunks: number;
  readonly bytes: bigint;
}

export interface ClientDiff {
  readonly clientId: string;
  /** Images that have this client. */
  readonly in: 'both' | 'first' | 'second';
  readonly objects: readonly ObjectChange[];
  readonly same: ChunkCounts;
  readonly changed: ChunkCounts;
  readonly added: ChunkCounts;
  readonly removed: ChunkCounts;
}

interface Side {
  readonly index: GpuIndex;
  readonly objects: readonly SavedObject[];
}

/**
 * Compares two images; either order.
 *
 * @throws PhosError as readManifest, and IMAGE_INVALID for a damaged index
 */
export async function diffImages(
  first: string,
  second: string,
  trust: Trust,
): Promise<ClientDiff[]> {
  const a = await sidesOf(first, trust);
  const b = await sidesOf(second, trust);
  const ids = [...new Set([...a.keys(), ...b.keys()])];
  const result: ClientDiff[] = [];
  for (const clientId of ids) {
    const [one, other] = [a.get(clientId), b.get(clientId)];
    const chunks = await compareChunks(one?.index ?? null, other?.index ?? null, trust.key);
    result.push({
      clientId,
      in: one === undefined ? 'second' : other === undefined ? 'first' : 'both',
      objects: compareObjects(one?.objects ?? [], other?.objects ?? []),
      ...chunks,
    });
  }
  return result;
}

async function sidesOf(directory: string, trust: Trust): Promise<Map<string, Side>> {
  const manifest = await readManifest(directory, trust);
  await checkParents(directory, manifest, trust.key);
  const sides = new Map<string, Side>();
  for (const client of manifest.clients) {
    const folder = join(directory, client.directory);
    const index = await readGpuIndex(folder, trust.key);
    const { objects } = await readGpuObjects(folder, trust.key);
    sides.set(client.clientId, { index, objects: objects.filter(({ live }) => live) });
  }
  return sides;
}

function compareObjects(
  first: readonly SavedObject[],
  second: readonly SavedObject[],
): ObjectChange[] {
  const before = new Map(first.map((object) => [object.handle, object]));
  const after = new Map(second.map((object) => [object.handle, object]));
  const changes: ObjectChange[] = [];
  const add = (change: ObjectChange['change'], object: SavedObject): void => {
    changes.push({ change, handle: object.handle, createdBy: object.create.call });
  };
  for (const [handle, object] of before) {
    const now = after.get(handle);
    if (now === undefined) add('removed', object);
    else if (textOf(now) !== textOf(object)) add('changed', now);
  }
  for (const [handle, object] of after) if (!before.has(handle)) add('added', object);
  return changes;
}

/** Everything about an object but its place in the order of creation. */
function textOf(object: SavedObject): string {
  return JSON.stringify({ ...object, creation: 0 }, (_key, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  );
}

type Counts = Readonly<Record<'same' | 'changed' | 'added' | 'removed', ChunkCounts>>;

async function compareChunks(
  first: GpuIndex | null,
  second: GpuIndex | null,
  key: Buffer | null,
): Promise<Counts> {
  const before = new Map((first?.chunks ?? []).map((chunk) => [chunk.address, chunk]));
  const none = (): { chunks: number; bytes: bigint } => ({ chunks: 0, bytes: 0n });
  const counts = { same: none(), changed: none(), added: none(), removed: none() };
  const add = (kind: keyof Counts, chunk: Chunk): void => {
    counts[kind].chunks += 1;
    counts[kind].bytes += BigInt(chunk.bytes);
  };
  for (const chunk of second?.chunks ?? []) {
    const old = before.get(chunk.address);
    before.delete(chunk.address);
    if (old === undefined || first === null || second === null) add('added', chunk);
    else if (await isSame([first, old], [second, chunk], key)) add('same', chunk);
    else add('changed', chunk);
  }
  for (const chunk of before.values()) add('removed', chunk);
  return counts;
}

async function isSame(
  [first, a]: readonly [GpuIndex, Chunk],
  [second, b]: readonly [GpuIndex, Chunk],
  key: Buffer | null,
): Promise<boolean> {
  if (a.bytes !== b.bytes || a.zero !== b.zero) return false;
  if (a.zero) return true;
  if (first.header.seed === second.header.seed) return a.checksum === b.checksum;
  if (a.content !== null && b.content !== null) return a.content === b.content;
  // Two chains whose checksums say nothing about each other: the bytes themselves.
  return (await readPlain(first, a, key)).equals(await readPlain(second, b, key));
}
