// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  encodeFrame,
  FrameReader,
  frameTypes,
  type FrameName,
} from '../../../src/host/keeper-frames.ts';

const names = Object.keys(frameTypes) as FrameName[];

test('frames come out as they went in, however the stream is cut', () => {
  const frame = fc.record({
    name: fc.constantFrom(...names),
    serial: fc.nat(0xffff_ffff),
    payload: fc.uint8Array({ maxLength: 300 }),
  });
  fc.assert(
    fc.property(
      fc.array(frame, { maxLength: 8 }),
      fc.integer({ min: 1, max: 50 }),
      (frames, step) => {
        const bytes = Buffer.concat(frames.map((f) => encodeFrame(f.name, f.serial, f.payload)));
        const reader = new FrameReader();
        const got = [];
        for (let at = 0; at < bytes.length; at += step)
          got.push(...reader.push(bytes.subarray(at, at + step)));
        expect(got.map((f) => ({ ...f, payload: new Uint8Array(f.payload) }))).toEqual(frames);
      },
    ),
  );
});

test('another version, an unknown type and a frame too long break the connection', () => {
  for (const [at, byte] of [
    [9, 2],
    [8, 200],
    [3, 0x7f],
  ] as const) {
    const bytes = encodeFrame('ok', 0, new Uint8Array());
    bytes[at] = byte;
    expect(() => new FrameReader().push(bytes)).toThrow(
      expect.objectContaining({ code: 'TRANSPORT' }),
    );
  }
});
