// SPDX-License-Identifier: Apache-2.0
// Frames of keepers/ID.sock. native/keeper/frames.h is the other side and tells the story; both
// change together.
import { PhosError } from '../errors/phos-error.ts';

export const FRAME_VERSION = 1;
export const FRAME_HEADER_BYTES = 12;
export const MAX_FRAME_PAYLOAD = 4 << 20;
/** Bytes of input that may be under way to the program. */
export const INPUT_WINDOW = 256 << 10;

export const frameTypes = {
  attach: 1,
  detach: 2,
  stdinData: 3,
  stdinEof: 4,
  windowSize: 5,
  signal: 6,
  status: 7,
  watch: 8,
  flush: 9,
  stdinPending: 10,
  endNote: 11,
  release: 12,
  ok: 64,
  error: 65,
  stdoutData: 66,
  stderrData: 67,
  stdinCredit: 68,
  exited: 69,
  statusReply: 70,
  flushed: 71,
  pending: 72,
} as const;
export type FrameName = keyof typeof frameTypes;

const names = new Map(Object.entries(frameTypes).map(([name, type]) => [type, name as FrameName]));

export interface KeeperFrame {
  readonly name: FrameName;
  /** Of the request that this answers, else 0. */
  readonly serial: number;
  readonly payload: Buffer;
}

/** Bytes of one frame. */
export function encodeFrame(name: FrameName, serial: number, payload: Uint8Array): Buffer {
  const frame = Buffer.alloc(FRAME_HEADER_BYTES + payload.length);
  frame.writeUInt32LE(payload.length, 0);
  frame.writeUInt32LE(serial, 4);
  frame.writeUInt8(frameTypes[name], 8);
  frame.writeUInt8(FRAME_VERSION, 9);
  frame.set(payload, FRAME_HEADER_BYTES);
  return frame;
}

/** Rows and columns as attach and windowSize carry them. */
export function encodeWindowSize(size: {
  readonly rows: number;
  readonly columns: number;
}): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt16LE(size.rows & 0xffff, 0);
  payload.writeUInt16LE(size.columns & 0xffff, 2);
  return payload;
}

/** Cuts a byte stream into frames. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #bytes = 0;

  /** @throws PhosError TRANSPORT for another version, an unknown type or a frame too long */
  push(data: Buffer): KeeperFrame[] {
    this.#chunks.push(data);
    this.#bytes += data.length;
    const frames: KeeperFrame[] = [];
    while (this.#bytes >= FRAME_HEADER_BYTES) {
      const all = this.#joined();
      const payloadBytes = all.readUInt32LE(0);
      const name = names.get(all.readUInt8(8) as (typeof frameTypes)[FrameName]);
      if (all.readUInt8(9) !== FRAME_VERSION || name === undefined) {
        throw new PhosError('TRANSPORT', 'the keeper speaks another version of its protocol');
      }
      if (payloadBytes > MAX_FRAME_PAYLOAD) {
        throw new PhosError('TRANSPORT', `the keeper sent a frame of ${payloadBytes} bytes`);
      }
      const end = FRAME_HEADER_BYTES + payloadBytes;
      if (all.length < end) break;
      frames.push({
        name,
        serial: all.readUInt32LE(4),
        payload: all.subarray(FRAME_HEADER_BYTES, end),
      });
      this.#chunks = [all.subarray(end)];
      this.#bytes = all.length - end;
    }
    return frames;
  }

  #joined(): Buffer {
    const [first] = this.#chunks;
    if (this.#chunks.length === 1 && first !== undefined) return first;
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [all];
    return all;
  }
}
