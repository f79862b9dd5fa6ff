// SPDX-License-Identifier: Apache-2.0
// A command ring as JavaScript sees it: words by name, checked geometry. Reads are atomic where
// both processes touch a word. Nothing here sleeps: Atomics.wait does not hear other processes.
import { PhosError } from '../errors/phos-error.ts';
import {
  headerOffsets,
  REPLY_SLOT_BYTES,
  REPLY_SLOTS,
  RING_HEADER_BYTES,
  RING_MAGIC,
  RING_VERSION,
  type RingGeometry,
  ringBytes,
} from './layout.ts';

type Word32 = Exclude<keyof typeof headerOffsets, Word64 | 'clientId'>;
type Word64 =
  | 'head'
  | 'tail'
  | 'commands'
  | 'deferredErrors'
  | 'clientBeats'
  | 'gateWaits'
  | 'gateWaitNs';

export class RingView {
  readonly geometry: RingGeometry;
  readonly bytes: Uint8Array;
  readonly #words: Uint32Array;
  readonly #longs: BigUint64Array;

  /** @throws PhosError TRANSPORT when the header does not fit the buffer */
  constructor(buffer: SharedArrayBuffer) {
    this.bytes = new Uint8Array(buffer);
    this.#words = new Uint32Array(buffer);
    this.#longs = new BigUint64Array(buffer);
    this.geometry = this.#checkedGeometry();
  }

  word(name: Word32): number {
    return Atomics.load(this.#words, headerOffsets[name] / 4);
  }

  long(name: Word64): bigint {
    return Atomics.load(this.#longs, headerOffsets[name] / 8);
  }

  setWord(name: Word32, value: number): void {
    Atomics.store(this.#words, headerOffsets[name] / 4, value);
  }

  setLong(name: Word64, value: bigint): void {
    Atomics.store(this.#longs, headerOffsets[name] / 8, value);
  }

  /** An atomic word anywhere, by its byte offset: reply slots have them. */
  storeAt(byteOffset: number, value: number): void {
    Atomics.store(this.#words, byteOffset / 4, value);
  }

  loadAt(byteOffset: number): number {
    return Atomics.load(this.#words, byteOffset / 4);
  }

  replySlotOffset(slot: number): number {
    return RING_HEADER_BYTES + slot * REPLY_SLOT_BYTES;
  }

  get clientId(): string {
    const id = this.bytes.slice(headerOffsets.clientId, headerOffsets.clientId + 16);
    return Buffer.from(id).toString('hex');
  }

  #checkedGeometry(): RingGeometry {
    const total = this.bytes.length;
    const fields = total < RING_HEADER_BYTES ? null : this.#readFields();
    const sound =
      fields !== null &&
      fields.magic === RING_MAGIC &&
      fields.version === RING_VERSION &&
      fields.headerBytes === RING_HEADER_BYTES &&
      fields.replySlotBytes === REPLY_SLOT_BYTES &&
      fields.replySlots > 0 &&
      fields.replySlots <= REPLY_SLOTS &&
      fields.dataOffset === RING_HEADER_BYTES + fields.replySlots * REPLY_SLOT_BYTES &&
      fields.dataBytes >= 4096 &&
      (fields.dataBytes & (fields.dataBytes - 1)) === 0 &&
      fields.dataOffset + fields.dataBytes <= total;
    if (!sound) {
      throw new PhosError(
        'TRANSPORT',
        'The ring is not one of this version; use the client library of this build.',
      );
    }
    return fields;
  }

  #readFields(): RingGeometry & {
    readonly magic: number;
    readonly version: number;
    readonly headerBytes: number;
    readonly replySlotBytes: number;
  } {
    return {
      magic: this.word('magic'),
      version: this.word('version'),
      headerBytes: this.word('headerBytes'),
      replySlotBytes: this.word('replySlotBytes'),
      replySlots: this.word('replySlots'),
      dataOffset: this.word('dataOffset'),
      dataBytes: this.word('dataBytes'),
    };
  }
}

/** A new, empty ring in memory of this process: for tests. */
export function createRing(dataBytes: number): RingView {
  const buffer = new SharedArrayBuffer(ringBytes(dataBytes));
  const words = new Uint32Array(buffer);
  const set = (offset: number, value: number): void => {
    words[offset / 4] = value;
  };
  set(headerOffsets.magic, RING_MAGIC);
  set(headerOffsets.version, RING_VERSION);
  set(headerOffsets.headerBytes, RING_HEADER_BYTES);
  set(headerOffsets.replySlots, REPLY_SLOTS);
  set(headerOffsets.replySlotBytes, REPLY_SLOT_BYTES);
  set(headerOffsets.dataOffset, RING_HEADER_BYTES + REPLY_SLOTS * REPLY_SLOT_BYTES);
  set(headerOffsets.dataBytes, dataBytes);
  set(headerOffsets.clientPid, process.pid);
  return new RingView(buffer);
}
