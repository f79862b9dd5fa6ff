// SPDX-License-Identifier: Apache-2.0
// `chunks` of a gpu-K folder: which device memory lies in which extent of which image.
import { dirname, normalize } from 'node:path';
import { realpath } from 'node:fs/promises';
import { Cursor } from './cursor.ts';
import { storageError } from './files.ts';
import { type FileHeader, MAX_LANES, PAGE_BYTES, readBody } from './gpu-files.ts';

const CHUNK_BYTES = 2 << 20;
const MAX_SOURCES = 64;
const ZERO = 1;
const GLOBAL = 2;
const COMPRESSED = 4;
const CONTENT = 8;
const NO_HASH = '0'.repeat(32);

/** A folder in which chunks lie. */
export interface GpuSource {
  readonly directory: string;
  readonly imageId: string;
  readonly lanes: number;
}

export interface Chunk {
  readonly address: bigint;
  readonly bytes: number;
  readonly zero: boolean;
  /** A variable of a module, which the driver placed. */
  readonly global: boolean;
  readonly compressed: boolean;
  /** Number in `sources`; 0 is the folder itself. */
  readonly source: number;
  readonly lane: number;
  readonly offset: bigint;
  /** Bytes of the extent without its padding. */
  readonly stored: number;
  /** Seeded XXH3-128 of the plain bytes. */
  readonly checksum: string;
  /** SHA-256 of the plain bytes; null where the image has none. */
  readonly content: string | null;
  readonly tag: Buffer;
}

export interface DeadExtent {
  readonly lane: number;
  readonly offset: bigint;
  readonly stored: number;
}

export interface GpuIndex {
  readonly directory: string;
  readonly header: FileHeader;
  readonly sources: readonly GpuSource[];
  readonly chunks: readonly Chunk[];
  readonly dead: readonly DeadExtent[];
}

/**
 * Reads and checks the index; the extents are not read.
 *
 * @throws PhosError IMAGE_INVALID naming file and offset, UNSUPPORTED, PERMISSION, STORAGE
 */
export async function readGpuIndex(directory: string, key: Buffer | null): Promise<GpuIndex> {
  const { header, path, data } = await readBody(directory, 'chunks', key);
  const cursor = new Cursor(data, path, 0);
  const sourceCount = cursor.u32();
  const deadCount = cursor.u32();
  cursor.zeros(24);
  if (sourceCount > MAX_SOURCES) throw cursor.invalid('more folders than an image may refer to');
  const base = await folderOfImage(directory);
  const sources: GpuSource[] = [{ directory, imageId: header.imageId, lanes: header.lane }];
  for (let i = 0; i < sourceCount; i += 1) sources.push(readSource(cursor, base));
  const dead: DeadExtent[] = [];
  for (let i = 0; i < deadCount; i += 1) {
    const offset = cursor.u64();
    const stored = cursor.u32();
    dead.push({ offset, stored, lane: cursor.u32() });
  }
  const chunks: Chunk[] = [];
  let end = 0n;
  for (let i = 0n; i < header.count; i += 1n) {
    const chunk = readChunk(cursor, sources);
    if (chunk.address < end) throw cursor.invalid('two chunks overlap');
    end = chunk.address + BigInt(chunk.bytes);
    if (end >> 64n !== 0n) throw cursor.invalid('a chunk leaves the address space');
    chunks.push(chunk);
  }
  cursor.end();
  return { directory, header, sources, chunks, dead };
}

/** The folder that holds the image: names of other images are relative to it. */
async function folderOfImage(directory: string): Promise<string> {
  try {
    return dirname(dirname(await realpath(directory)));
  } catch (thrown) {
    throw storageError(thrown, `finding ${directory}`);
  }
}

function readSource(cursor: Cursor, base: string): GpuSource {
  const imageId = cursor.hex(16);
  const lanes = cursor.u32();
  cursor.zeros(4);
  const name = cursor.text();
  if (lanes === 0 || lanes > MAX_LANES || name === '' || name.includes('\0')) {
    throw cursor.invalid("the name of another image's folder is malformed");
  }
  return { imageId, lanes, directory: normalize(`${base}/${name}`) };
}

function readChunk(cursor: Cursor, sources: readonly GpuSource[]): Chunk {
  const address = cursor.u64();
  const offset = cursor.u64();
  const bytes = cursor.u32();
  const stored = cursor.u32();
  const flags = cursor.u32();
  const source = cursor.u16();
  const lane = cursor.u16();
  const checksum = cursor.hex(16);
  cursor.take(16); // the engine's change hash, which only the engine can judge
  const content = cursor.hex(32);
  const tag = Buffer.from(cursor.take(16));
  const chunk: Chunk = {
    address,
    bytes,
    zero: (flags & ZERO) !== 0,
    global: (flags & GLOBAL) !== 0,
    compressed: (flags & COMPRESSED) !== 0,
    source,
    lane,
    offset,
    stored,
    checksum,
    content: (flags & CONTENT) === 0 ? null : content,
    tag,
  };
  const known = (flags & ~(ZERO | GLOBAL | COMPRESSED | CONTENT)) === 0;
  if (!known || bytes === 0 || bytes > CHUNK_BYTES || !isPlaced(chunk, sources)) {
    throw cursor.invalid('a chunk is malformed');
  }
  return chunk;
}

function isPlaced(chunk: Chunk, sources: readonly GpuSource[]): boolean {
  const { stored, bytes, offset } = chunk;
  if (chunk.zero) {
    const nowhere = chunk.source === 0 && chunk.lane === 0 && offset === 0n && stored === 0;
    return nowhere && chunk.checksum === NO_HASH && !chunk.compressed && chunk.content === null;
  }
  const lanes = sources[chunk.source]?.lanes ?? 0;
  const page = BigInt(PAGE_BYTES);
  if (chunk.lane >= lanes || offset % page !== 0n || offset < page || stored === 0) return false;
  return chunk.compressed ? stored < bytes : stored === bytes;
}
