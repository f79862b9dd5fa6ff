// SPDX-License-Identifier: Apache-2.0
// The files of a gpu-K folder as docs/image-format.md lays them out: headers, bodies, seals. This
// reader and the native one were written apart, from that page; tests hold them against each other.
import { createDecipheriv, hkdfSync } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { PhosError } from '../errors/phos-error.ts';
import { Cursor, invalidFile } from './cursor.ts';
import { storageError } from './files.ts';
import { xxh3 } from './xxh3.ts';

export const GPU_VERSION = 3;
export const PAGE_BYTES = 4096;
export const HEADER_BYTES = 104;
export const MAX_LANES = 16;
const SEALED = 1;
const MAX_BODY_BYTES = 2 ** 31;

export type BodyName = 'objects' | 'blobs' | 'chunks';
const magics = {
  objects: 'PHOSOBJS',
  blobs: 'PHOSBLOB',
  chunks: 'PHOSCHNK',
  data: 'PHOSDATA',
} as const;
/** What takes the place of a lane in the nonce of a body. */
const bodyLanes: Readonly<Record<BodyName, number>> = {
  objects: 0x80000001,
  blobs: 0x80000002,
  chunks: 0x80000003,
};

export interface FileHeader {
  readonly lane: number;
  readonly bytes: bigint;
  readonly count: bigint;
  readonly checksum: string;
  readonly imageId: string;
  readonly seed: bigint;
  readonly sealed: boolean;
  readonly keyCheck: string;
  readonly tag: Buffer;
}

/** Decodes a header; the version is looked at before anything else but the magic. */
export function decodeHeader(
  data: Buffer,
  kind: keyof typeof magics,
  path: string,
  size: bigint,
): FileHeader {
  if (data.length < HEADER_BYTES) throw invalidFile(path, data.length, 'the file ends early');
  const cursor = new Cursor(data.subarray(0, HEADER_BYTES), path, 0);
  if (cursor.take(8).toString('latin1') !== magics[kind]) {
    throw invalidFile(path, 0, 'not a file of this kind');
  }
  const version = cursor.u32();
  if (version !== GPU_VERSION) {
    throw new PhosError(
      'UNSUPPORTED',
      `${path} has version ${version}, this phos reads version ${GPU_VERSION}; ` +
        'use the phos that wrote it',
      { details: { file: path, version } },
    );
  }
  const lane = cursor.u32();
  const bytes = cursor.u64();
  if (bytes !== size) {
    throw invalidFile(path, size, `the file has ${size} bytes instead of ${bytes}`);
  }
  const count = cursor.u64();
  const checksum = cursor.hex(16);
  const imageId = cursor.hex(16);
  const seed = cursor.u64();
  const flags = cursor.u32();
  if ((flags & ~SEALED) !== 0) throw cursor.invalid('an unknown flag');
  cursor.zeros(4);
  const keyCheck = cursor.hex(8);
  const tag = Buffer.from(cursor.take(16));
  const sealed = flags === SEALED;
  if (!sealed && (/[^0]/.test(keyCheck) || tag.some((byte) => byte !== 0))) {
    throw cursor.invalid('a field is set that must be zero');
  }
  return { lane, bytes, count, checksum, imageId, seed, sealed, keyCheck, tag };
}

/** What is needed to open one folder's seals. */
export class Seal {
  readonly #key: Buffer;
  readonly #imageId: Buffer;
  readonly keyCheck: string;

  constructor(key: Buffer, imageId: string) {
    this.#imageId = Buffer.from(imageId, 'hex');
    const derive = (info: string, bytes: number): Buffer =>
      Buffer.from(hkdfSync('sha256', key, this.#imageId, info, bytes));
    this.#key = derive('phos image v2 seal', 32);
    this.keyCheck = derive('phos image v2 check', 8).toString('hex');
  }

  /** The plain bytes, or null when anything that the tag covers was altered. */
  open(place: SealedPlace, data: Buffer, tag: Buffer): Buffer | null {
    const nonce = Buffer.alloc(12);
    nonce.writeUInt32LE(place.lane, 0);
    nonce.writeBigUInt64LE(place.offset, 4);
    const covered = Buffer.alloc(40);
    this.#imageId.copy(covered);
    covered.writeBigUInt64LE(place.offset, 16);
    covered.writeUInt32LE(place.lane, 24);
    covered.writeUInt32LE(place.bytes, 28);
    covered.writeUInt32LE(place.flags, 32);
    const cipher = createDecipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: 16 });
    cipher.setAAD(covered);
    cipher.setAuthTag(tag);
    try {
      return Buffer.concat([cipher.update(data), cipher.final()]);
    } catch {
      // The one thing that final() says: the tag does not fit.
      return null;
    }
  }
}

export interface SealedPlace {
  readonly lane: number;
  readonly offset: bigint;
  readonly bytes: number;
  readonly flags: number;
}

export interface Body {
  readonly header: FileHeader;
  readonly path: string;
  /** Plain. */
  readonly data: Buffer;
}

/**
 * Reads a file of the index whole.
 *
 * @param key of an encrypted image
 * @throws PhosError IMAGE_INVALID, UNSUPPORTED, PERMISSION without the key or with another, STORAGE
 */
export async function readBody(
  directory: string,
  name: BodyName,
  key: Buffer | null,
): Promise<Body> {
  const path = `${directory}/${name}`;
  const whole = await withFile(path, async (file, size) => {
    if (size > BigInt(MAX_BODY_BYTES)) throw invalidFile(path, 0, 'the file is too large');
    return readAt(file, path, 0n, Number(size));
  });
  const header = decodeHeader(whole, name, path, BigInt(whole.length));
  if (header.lane > (name === 'chunks' ? MAX_LANES : 0)) {
    throw invalidFile(path, 12, 'a field is set that must be zero');
  }
  const stored = whole.subarray(HEADER_BYTES);
  if (xxh3(stored) !== header.checksum) {
    throw invalidFile(path, HEADER_BYTES, 'the checksum does not match');
  }
  if (!header.sealed) return { header, path, data: stored };
  const place = { lane: bodyLanes[name], offset: 0n, bytes: 0, flags: SEALED };
  const data = sealOf(header, key, path).open(place, stored, header.tag);
  if (data === null) throw invalidFile(path, HEADER_BYTES, 'it was altered: decryption fails');
  return { header, path, data };
}

/** The header alone, with nothing of the body checked. @throws PhosError as readBody */
export async function readHeader(directory: string, name: BodyName): Promise<FileHeader> {
  const path = `${directory}/${name}`;
  return withFile(path, async (file, size) => {
    const bytes = size < BigInt(HEADER_BYTES) ? Number(size) : HEADER_BYTES;
    return decodeHeader(await readAt(file, path, 0n, bytes), name, path, size);
  });
}

/** @throws PhosError PERMISSION */
export function sealOf(header: FileHeader, key: Buffer | null, path: string): Seal {
  if (key === null) {
    throw new PhosError('PERMISSION', `${path} is encrypted; give its key with --key-file`);
  }
  const seal = new Seal(key, header.imageId);
  if (seal.keyCheck !== header.keyCheck) {
    throw new PhosError(
      'PERMISSION',
      `${path} is encrypted with another key; give the key that it was written with`,
    );
  }
  return seal;
}

/** Opens a file of the image for as long as `use` runs; what is missing is IMAGE_INVALID. */
export async function withFile<T>(
  path: string,
  use: (file: FileHandle, size: bigint) => Promise<T>,
): Promise<T> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (thrown) {
    const code = (thrown as { code?: unknown }).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') throw invalidFile(path, 0, 'the file is missing');
    throw storageError(thrown, `opening ${path}`);
  }
  try {
    const info = await file.stat({ bigint: true });
    if (!info.isFile()) throw invalidFile(path, 0, 'not a regular file');
    return await use(file, info.size);
  } finally {
    await file.close();
  }
}

/** Exactly `bytes` bytes, or IMAGE_INVALID. */
export async function readAt(
  file: FileHandle,
  path: string,
  offset: bigint,
  bytes: number,
): Promise<Buffer> {
  const data = Buffer.alloc(bytes);
  let done = 0;
  while (done < bytes) {
    // A position beyond 2^53 would be a file of petabytes.
    const { bytesRead } = await file.read(data, done, bytes - done, Number(offset) + done);
    if (bytesRead === 0) throw invalidFile(path, offset + BigInt(done), 'the file ends early');
    done += bytesRead;
  }
  return data;
}
