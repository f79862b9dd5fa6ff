// SPDX-License-Identifier: Apache-2.0
// Hostile peers of the control plane: whatever bytes they send, in whatever pieces, they get a
// typed error or nothing, and a reader never gives out more than it was given.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PhosError } from '../../src/errors/phos-error.ts';
import { LineReader } from '../../src/executor/line-reader.ts';
import { methods, request, serverLine } from '../../src/executor/protocol.ts';
import { encodeFrame, FrameReader, frameTypes } from '../../src/host/keeper-frames.ts';
import { encodeManifest, readManifest } from '../../src/image/manifest.ts';
import { registrySchema } from '../../src/model/domain.ts';

const runs = { numRuns: 2000 };

/** Cuts bytes at the given places. */
function pieces(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])];
  at.sort((a, b) => a - b);
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end));
}

function codeOf(thrown: unknown): string {
  return thrown instanceof PhosError ? thrown.code : `no PhosError: ${String(thrown)}`;
}

/** What was changed may be white space only. */
function sameText(a: Buffer, b: Buffer): string {
  const [one, other] = [a, b].map((text) => JSON.stringify(JSON.parse(text.toString())));
  return one === other ? 'whole' : 'accepted though it was changed';
}

/** Runs what may only throw a PhosError of this code. */
function onlyThrows(code: string, work: () => void): void {
  let found = code;
  try {
    work();
  } catch (thrown) {
    found = codeOf(thrown);
  }
  expect(found).toBe(code);
}

/** Bytes that look right but for what was changed in them. */
const changes = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 6 });
function changed(bytes: Buffer, edits: readonly (readonly [number, number])[]): Buffer {
  const copy = Buffer.from(bytes);
  for (const [at, value] of edits) if (copy.length > 0) copy[at % copy.length] = value;
  return copy;
}

describe('frames of a keeper', () => {
  const names = Object.keys(frameTypes) as (keyof typeof frameTypes)[];
  const frame = fc
    .tuple(fc.constantFrom(...names), fc.nat(), fc.uint8Array({ maxLength: 300 }))
    .map(([name, serial, payload]) => encodeFrame(name, serial, payload));
  const cuts = fc.array(fc.nat(), { maxLength: 8 });

  it('come out as they went in, in whatever pieces', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 5 }), cuts, (frames, at) => {
        const reader = new FrameReader();
        const all = Buffer.concat(frames);
        const found = pieces(all, at).flatMap((piece) => reader.push(piece));
        const again = found.map((one) => encodeFrame(one.name, one.serial, one.payload));
        expect(Buffer.concat(again).equals(all)).toBe(true);
      }),
    );
  });

  it('are refused, or are other frames, when they were changed', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 5 }), changes, cuts, (frames, edits, at) => {
        const reader = new FrameReader();
        const all = changed(Buffer.concat(frames), edits);
        let bytes = 0;
        onlyThrows('TRANSPORT', () => {
          for (const piece of pieces(all, at)) {
            for (const one of reader.push(piece)) bytes += 12 + one.payload.length;
          }
        });
        expect(bytes).toBeLessThanOrEqual(all.length);
      }),
      runs,
    );
  });
});

describe('lines of an executor', () => {
  it('are refused when they are not of the protocol, and never half understood', () => {
    const line = fc.oneof(
      fc.json().map((text) => Buffer.from(text)),
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      fc
        .record({
          id: fc.oneof(fc.nat(), fc.string(), fc.double()),
          method: fc.oneof(fc.constantFrom(...Object.keys(methods)), fc.string()),
          params: fc.jsonValue(),
        })
        .map((value) => Buffer.from(JSON.stringify(value))),
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 4 }), changes, (lines, edits) => {
        const reader = new LineReader();
        const all = changed(Buffer.concat(lines.flatMap((one) => [one, Buffer.from('\n')])), edits);
        onlyThrows('TRANSPORT', () => {
          for (const value of reader.push(all)) {
            const asked = request.safeParse(value);
            if (asked.success && asked.data.method in methods) {
              const { params } = methods[asked.data.method as keyof typeof methods];
              params.safeParse(asked.data.params);
            }
            serverLine.safeParse(value);
          }
        });
      }),
      runs,
    );
  });

  it('are refused when they never end', () => {
    const reader = new LineReader();
    const part = Buffer.alloc(1 << 20, 0x20);
    expect(() => {
      for (let count = 0; count < 6; count += 1) reader.push(part);
    }).toThrow(PhosError);
  });
});

describe('files that others may have written', () => {
  it('are a manifest or IMAGE_INVALID', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'phos-hostile-'));
    const whole = Buffer.from(
      encodeManifest({
        schema: 'phos-image',
        version: 2,
        phosVersion: '0.1.0',
        created: '2026-01-02T03:04:05.000Z',
        clients: [],
        cpu: { criuVersion: '4.1.1', rootPid: 42, bytes: '5', openFiles: [] },
        parents: [],
        chain: '00112233445566778899aabbccddeeff',
        depth: 0,
        files: [],
      }),
    );
    let count = 0;
    try {
      await fc.assert(
        fc.asyncProperty(changes, fc.nat(), async (edits, length) => {
          count += 1;
          const image = join(folder, String(count));
          const bytes = changed(whole, edits).subarray(0, whole.length - (length % 3));
          mkdirSync(image);
          writeFileSync(join(image, 'manifest.json'), bytes);
          const verdict = await readManifest(image).then(
            () => (bytes.equals(whole) ? 'whole' : sameText(bytes, whole)),
            codeOf,
          );
          expect(['whole', 'IMAGE_INVALID', 'UNSUPPORTED']).toContain(verdict);
        }),
        { numRuns: 300 },
      );
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('are a registry or nothing', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(typeof registrySchema.safeParse(value).success).toBe('boolean');
      }),
    );
  });
});
