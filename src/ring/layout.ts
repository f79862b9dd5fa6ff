// SPDX-License-Identifier: Apache-2.0
// Where things lie in a command ring: native/include/phos/ring_layout.h in TypeScript. A test
// compares the two. Cursors are free-running 64-bit byte counts, so they are bigint here.

export const RING_MAGIC = 0x474e_5250;
export const RING_VERSION = 1;
export const RING_HEADER_BYTES = 4096;
export const REPLY_SLOT_BYTES = 4096;
export const REPLY_SLOTS = 512;
export const REPLY_INLINE_BYTES = 3968;
export const RECORD_ALIGN = 32;
export const RECORD_HEADER_BYTES = 32;
export const OP_PAD = 0xffff;
export const NO_REPLY = 0xffff_ffff;
export const RECORD_SYNC = 1;

/** Byte offsets of the words of RingHeader. */
export const headerOffsets = {
  magic: 0,
  version: 4,
  headerBytes: 8,
  replySlots: 12,
  replySlotBytes: 16,
  dataOffset: 20,
  dataBytes: 24,
  clientPid: 28,
  clientId: 32,
  head: 64,
  producerSleeps: 72,
  tail: 128,
  consumerSleeps: 136,
  busy: 140,
  gate: 192,
  poison: 196,
  stop: 200,
  ownerEpoch: 204,
  alive: 256,
  commands: 320,
  deferredErrors: 328,
  clientBeats: 336,
  gateWaits: 384,
  gateWaitNs: 392,
} as const;

/** Byte offsets within a ReplySlot. */
export const replyOffsets = {
  sequence: 0,
  waiterSleeps: 4,
  status: 8,
  bytes: 12,
  data: 64,
} as const;

/** Sizes of one ring, copied out of its header once and checked against the buffer. */
export interface RingGeometry {
  readonly replySlots: number;
  readonly dataOffset: number;
  /** A power of two. */
  readonly dataBytes: number;
}

export function ringBytes(dataBytes: number): number {
  return RING_HEADER_BYTES + REPLY_SLOTS * REPLY_SLOT_BYTES + dataBytes;
}
