// SPDX-License-Identifier: Apache-2.0
// A consumer of the command ring in TypeScript: the same rules as native/ring, for tests and
// tracing. It trusts nothing in the ring: each header is copied once and checked, and the cursor is
// its own. It either takes commands and answers them (tests), or only looks on (tracing).
import { callById } from '../gen/call-ids.ts';
import {
  NO_REPLY,
  OP_PAD,
  RECORD_ALIGN,
  RECORD_HEADER_BYTES,
  RECORD_SYNC,
  REPLY_INLINE_BYTES,
  replyOffsets,
} from './layout.ts';
import type { RingView } from './ring-view.ts';

export interface RingRecord {
  readonly position: bigint;
  readonly op: number;
  /** Name of the call; null when the id is none that is known. */
  readonly call: string | null;
  readonly isSync: boolean;
  /** Null for a command that nobody waits for. */
  readonly replySlot: number | null;
  readonly sequence: number;
  readonly context: bigint;
  /** A copy. */
  readonly payload: Uint8Array;
}

export type Taken =
  | { readonly kind: 'record'; readonly record: RingRecord }
  | { readonly kind: 'empty' }
  | { readonly kind: 'corrupt'; readonly reason: 'bad head' | 'bad record' };

export class RingConsumer {
  readonly #ring: RingView;
  #position: bigint;
  #corrupt: 'bad head' | 'bad record' | null = null;

  /** Starts at the ring's tail. */
  constructor(ring: RingView) {
    this.#ring = ring;
    this.#position = ring.long('tail');
  }

  get position(): bigint {
    return this.#position;
  }

  /** Takes the next record, skipping padding. Corruption is final. */
  next(): Taken {
    for (;;) {
      if (this.#corrupt !== null) return { kind: 'corrupt', reason: this.#corrupt };
      const available = this.#available();
      if (available === null) continue;
      if (available === 0) return { kind: 'empty' };
      const record = this.#read(available);
      if (record === null) continue;
      if (record.op !== OP_PAD) return { kind: 'record', record };
    }
  }

  /** Gives the space of what was taken back to the producer. */
  publishTail(): void {
    this.#ring.setLong('tail', this.#position);
  }

  /** Answers a command that waits. */
  reply(record: RingRecord, status: number, data: Uint8Array): void {
    if (record.replySlot === null || record.replySlot >= this.#ring.geometry.replySlots) return;
    if (data.length > REPLY_INLINE_BYTES) {
      throw new RangeError(`a reply holds ${REPLY_INLINE_BYTES} bytes, not ${data.length}`);
    }
    const slot = this.#ring.replySlotOffset(record.replySlot);
    this.#ring.bytes.set(data, slot + replyOffsets.data);
    this.#ring.storeAt(slot + replyOffsets.status, status);
    this.#ring.storeAt(slot + replyOffsets.bytes, data.length);
    this.#ring.storeAt(slot + replyOffsets.sequence, record.sequence);
  }

  #available(): number | null {
    const head = this.#ring.long('head');
    const bytes = BigInt.asUintN(64, head - this.#position);
    if (bytes > BigInt(this.#ring.geometry.dataBytes) || head % BigInt(RECORD_ALIGN) !== 0n) {
      this.#corrupt = 'bad head';
      return null;
    }
    return Number(bytes);
  }

  #read(available: number): RingRecord | null {
    const { dataOffset, dataBytes } = this.#ring.geometry;
    const offset = Number(this.#position & BigInt(dataBytes - 1));
    const start = dataOffset + offset;
    const header = new DataView(this.#ring.bytes.slice(start, start + RECORD_HEADER_BYTES).buffer);
    const bytes = header.getUint32(0, true);
    if (
      bytes < RECORD_HEADER_BYTES ||
      bytes % RECORD_ALIGN !== 0 ||
      bytes > available ||
      bytes > dataBytes - offset
    ) {
      this.#corrupt = 'bad record';
      return null;
    }
    const position = this.#position;
    this.#position += BigInt(bytes);
    const op = header.getUint16(4, true);
    const replySlot = header.getUint32(8, true);
    return {
      position,
      op,
      call: callById(op)?.name ?? null,
      isSync: (header.getUint16(6, true) & RECORD_SYNC) !== 0,
      replySlot: replySlot === NO_REPLY ? null : replySlot,
      sequence: header.getUint32(12, true),
      context: header.getBigUint64(16, true),
      payload: this.#ring.bytes.slice(start + RECORD_HEADER_BYTES, start + bytes),
    };
  }
}
