// SPDX-License-Identifier: Apache-2.0
// Extents of a gpu-K folder: that every byte of its data files belongs to one, and the plain bytes
// of chunks, checked.
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { decompress } from 'fzstd';
import { invalidFile } from './cursor.ts';
import { decodeHeader, HEADER_BYTES, PAGE_BYTES, readAt, Seal, withFile } from './gpu-files.ts';
import type { Chunk, GpuIndex } from './gpu-index.ts';
import { xxh3 } from './xxh3.ts';

const COMPRESSED = 4;

const padded = (bytes: number): number => Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;

interface Extent {
  readonly offset: bigint;
  readonly bytes: number;
}

/** Chunks and dead extents of one data file, each place once, ascending. */
function extentsOf(index: GpuIndex, source: number, lane: number): Extent[] {
  const found = new Map<string, Extent>();
  const add = (offset: bigint, stored: number): void => {
    const bytes = padded(stored);
    found.set(`${offset} ${bytes}`, { offset, bytes });
  };
  for (const chunk of index.chunks) {
    if (!chunk.zero && chunk.source === source && chunk.lane === lane) {
      add(chunk.offset, chunk.stored);
    }
  }
  if (source === 0) {
    for (const extent of index.dead) if (extent.lane === lane) add(extent.offset, extent.stored);
  }
  return [...found.values()].sort((a, b) => Number(a.offset - b.offset));
}

async function checkLane(index: GpuIndex, source: number, lane: number): Promise<void> {
  const extents = extentsOf(index, source, lane);
  if (source !== 0 && extents.length === 0) return;
  const from = index.sources[source];
  const path = `${from?.directory}/data-${lane}`;
  await withFile(path, async (file, size) => {
    if (size < BigInt(PAGE_BYTES)) throw invalidFile(path, size, 'the file ends early');
    const page = await readAt(file, path, 0n, PAGE_BYTES);
    const header = decodeHeader(page, 'data', path, size);
    const rest = page.subarray(HEADER_BYTES).some((byte) => byte !== 0);
    const strange =
      header.lane !== lane || header.imageId !== from?.imageId || /[^0]/.test(header.checksum);
    if (rest || strange || header.tag.some((byte) => byte !== 0)) {
      throw invalidFile(path, 0, 'the header does not belong to this image');
    }
    if (source !== 0) {
      const last = extents.at(-1);
      if (last !== undefined && last.offset + BigInt(last.bytes) > size) {
        throw invalidFile(path, size, 'the file ends before a chunk that lies in it');
      }
      return;
    }
    const own = index.header;
    if (
      header.count !== BigInt(extents.length) ||
      header.seed !== own.seed ||
      header.keyCheck !== own.keyCheck ||
      header.sealed !== own.sealed
    ) {
      throw invalidFile(path, 0, 'the header does not belong to this image');
    }
    let end = BigInt(PAGE_BYTES);
    for (const extent of extents) {
      if (extent.offset !== end) throw invalidFile(path, end, 'its extents do not fit `chunks`');
      end += BigInt(extent.bytes);
    }
    if (end !== size) throw invalidFile(path, end, 'its size does not fit `chunks`');
  });
}

/** Looks at every data file that the index needs; contents are not read. */
export async function checkDataFiles(index: GpuIndex): Promise<void> {
  for (const [source, { lanes }] of index.sources.entries()) {
    for (let lane = 0; lane < lanes; lane += 1) await checkLane(index, source, lane);
  }
  const strange = index.dead.find((extent) => extent.lane >= index.header.lane);
  if (strange !== undefined) throw invalidFile(`${index.directory}/chunks`, 0, 'unknown data file');
}

/**
 * Reads every chunk and checks it.
 *
 * @param onChunk gets the plain bytes, in the order of addresses
 * @throws PhosError IMAGE_INVALID naming file and offset
 */
export async function readChunks(
  index: GpuIndex,
  key: Buffer | null,
  onChunk: (chunk: Chunk, plain: Buffer) => void,
): Promise<void> {
  for (const chunk of index.chunks) onChunk(chunk, await readPlain(index, chunk, key));
}

/** The plain bytes of one chunk, checked. @throws PhosError IMAGE_INVALID */
export async function readPlain(
  index: GpuIndex,
  chunk: Chunk,
  key: Buffer | null,
): Promise<Buffer> {
  if (chunk.zero) return Buffer.alloc(chunk.bytes);
  const source = index.sources[chunk.source];
  const path = `${source?.directory}/data-${chunk.lane}`;
  const sealed = index.header.sealed && key !== null;
  const seal = sealed ? new Seal(key, source?.imageId ?? '') : null;
  return withFile(path, (file) => readChunk(file, path, index, chunk, seal));
}

async function readChunk(
  file: FileHandle,
  path: string,
  index: GpuIndex,
  chunk: Chunk,
  seal: Seal | null,
): Promise<Buffer> {
  const refuse = (what: string): Error => invalidFile(path, chunk.offset, what);
  const extent = await readAt(file, path, chunk.offset, padded(chunk.stored));
  if (extent.subarray(chunk.stored).some((byte) => byte !== 0)) {
    throw refuse('the padding of an extent is not zero');
  }
  let data: Buffer = extent.subarray(0, chunk.stored);
  if (seal !== null) {
    const { lane, offset, bytes } = chunk;
    const flags = chunk.compressed ? COMPRESSED : 0;
    const opened = seal.open({ lane, offset, bytes, flags }, data, chunk.tag);
    if (opened === null) throw refuse('a chunk was altered: decryption fails');
    data = opened;
  }
  if (chunk.compressed) data = unpack(data, chunk.bytes, refuse);
  if (xxh3(data, index.header.seed) !== chunk.checksum) {
    throw refuse('the checksum of a chunk does not match');
  }
  if (chunk.content !== null && createHash('sha256').update(data).digest('hex') !== chunk.content) {
    throw refuse('the SHA-256 of a chunk does not match');
  }
  return data;
}

function unpack(data: Buffer, bytes: number, refuse: (what: string) => Error): Buffer {
  try {
    const plain = Buffer.from(decompress(data, new Uint8Array(bytes)));
    if (plain.length === bytes) return plain;
  } catch {
    // Whatever the frame is, it is not what was written.
  }
  throw refuse('a chunk cannot be decompressed');
}
