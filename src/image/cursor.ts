// SPDX-License-Identifier: Apache-2.0
// Reading little-endian records. Every size is compared with what is there, and what is wrong is
// refused with the file and the offset.
import { PhosError } from '../errors/phos-error.ts';

export class Cursor {
  readonly #data: Buffer;
  readonly #path: string;
  /** Where the data begins in the file, for messages. */
  readonly #base: number;
  #at = 0;

  constructor(data: Buffer, path: string, base: number) {
    this.#data = data;
    this.#path = path;
    this.#base = base;
  }

  get left(): number {
    return this.#data.length - this.#at;
  }

  /** A view of the next bytes, not a copy. */
  take(bytes: number): Buffer {
    if (bytes > this.left) throw this.invalid('a record is cut short');
    this.#at += bytes;
    return this.#data.subarray(this.#at - bytes, this.#at);
  }

  u8(): number {
    return this.take(1).readUInt8();
  }

  u16(): number {
    return this.take(2).readUInt16LE();
  }

  u32(): number {
    return this.take(4).readUInt32LE();
  }

  i32(): number {
    return this.take(4).readInt32LE();
  }

  u64(): bigint {
    return this.take(8).readBigUInt64LE();
  }

  hex(bytes: number): string {
    return this.take(bytes).toString('hex');
  }

  /** Bytes behind their length, a u64. */
  bytes(): Buffer {
    return this.take(this.count(1));
  }

  text(): string {
    return this.bytes().toString('utf8');
  }

  /** A u64 that counts records of at least `least` bytes each. */
  count(least: number): number {
    const value = this.u64();
    if (value > BigInt(Math.floor(this.left / least))) {
      throw this.invalid('more records than the file can hold');
    }
    return Number(value);
  }

  zeros(bytes: number): void {
    if (this.take(bytes).some((byte) => byte !== 0)) {
      throw this.invalid('a field is set that must be zero');
    }
  }

  end(): void {
    if (this.left !== 0) throw this.invalid('unexpected data after the last record');
  }

  invalid(what: string): PhosError {
    return invalidFile(this.#path, this.#base + this.#at, what);
  }
}

export function invalidFile(path: string, offset: number | bigint, what: string): PhosError {
  return new PhosError(
    'IMAGE_INVALID',
    `the image is not usable: ${path} at offset ${offset}: ${what}; use another image`,
    { details: { file: path, offset: offset.toString() } },
  );
}
