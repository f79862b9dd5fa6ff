// SPDX-License-Identifier: Apache-2.0
// Writes records as the client library does, for tests: one writer, no gate, no sleeping.
import { NO_REPLY, OP_PAD, RECORD_ALIGN, RECORD_HEADER_BYTES, RECORD_SYNC } from './layout.ts';
import type { RingView } from './ring-view.ts';

export interface NewRecord {
  readonly op: number;
  readonly payload: Uint8Array;
  /** Where a reply is expected, null for none. */
  readonly reply: { readonly slot: number; readonly sequence: number } | null;
  readonly context: bigint;
}

export class RingProducer {
  readonly #ring: RingView;
  #head: bigint;

  constructor(ring: RingView) {
    this.#ring = ring;
    this.#head = ring.long('head');
  }

  /** False when the ring has no room for it now. */
  put(record: NewRecord): boolean {
    const { dataBytes } = this.#ring.geometry;
    const bytes = align(RECORD_HEADER_BYTES + record.payload.length);
    const offset = Number(this.#head & BigInt(dataBytes - 1));
    const room = dataBytes - offset;
    const padding = bytes > room ? room : 0;
    const used = Number(this.#head - this.#ring.long('tail'));
    if (used + padding + bytes > dataBytes) return false;
    if (padding > 0) {
      this.#write(offset, padding, { op: OP_PAD, payload: EMPTY, reply: null, context: 0n });
    }
    this.#write(padding > 0 ? 0 : offset, bytes, record);
    this.#head += BigInt(padding + bytes);
    this.#ring.setLong('head', this.#head);
    return true;
  }

  #write(offset: number, bytes: number, record: NewRecord): void {
    const start = this.#ring.geometry.dataOffset + offset;
    const header = new DataView(new ArrayBuffer(RECORD_HEADER_BYTES));
    header.setUint32(0, bytes, true);
    header.setUint16(4, record.op, true);
    header.setUint16(6, record.reply === null ? 0 : RECORD_SYNC, true);
    header.setUint32(8, record.reply?.slot ?? NO_REPLY, true);
    header.setUint32(12, record.reply?.sequence ?? 0, true);
    header.setBigUint64(16, record.context, true);
    this.#ring.bytes.set(new Uint8Array(header.buffer), start);
    this.#ring.bytes.set(record.payload, start + RECORD_HEADER_BYTES);
  }
}

const EMPTY = new Uint8Array(0);

function align(bytes: number): number {
  return Math.ceil(bytes / RECORD_ALIGN) * RECORD_ALIGN;
}
