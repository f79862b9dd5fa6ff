// SPDX-License-Identifier: Apache-2.0
// The TypeScript ring: layout equal to the header file, records through wrap-around, hostile rings.
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { callByName } from '../../src/gen/call-ids.ts';
import { RingConsumer } from '../../src/ring/consumer.ts';
import {
  headerOffsets,
  RECORD_ALIGN,
  RECORD_HEADER_BYTES,
  REPLY_SLOTS,
  RING_MAGIC,
  RING_VERSION,
} from '../../src/ring/layout.ts';
import { RingProducer } from '../../src/ring/producer.ts';
import { createRing, RingView } from '../../src/ring/ring-view.ts';

const DATA_BYTES = 4096;

function record(op: number, payload: Uint8Array) {
  return { op, payload, reply: null, context: 7n };
}

describe('layout', () => {
  const header = readFileSync(
    new URL('../../native/include/phos/ring_layout.h', import.meta.url),
    'utf8',
  );

  test('says what the header file says', () => {
    expect(header).toContain(`kRingMagic = 0x${RING_MAGIC.toString(16).toUpperCase()}`);
    expect(header).toContain(`kRingVersion = ${RING_VERSION};`);
    expect(header).toContain(`kReplySlots = ${REPLY_SLOTS};`);
    expect(header).toContain(`kRecordAlign = ${RECORD_ALIGN};`);
    expect(header).toContain(`sizeof(RecordHeader) == ${RECORD_HEADER_BYTES}`);
  });

  test('has every word of the header on the line that the file gives it', () => {
    const lines = header.split('alignas(64)').slice(2);
    const words = ['head', 'tail', 'gate', 'alive', 'commands', 'gate_waits'];
    const offsets = [64, 128, 192, 256, 320, 384];
    words.forEach((word, index) => {
      expect(lines[index]).toMatch(new RegExp(`^ std::atomic<[^>]+> ${word};`));
    });
    expect([
      headerOffsets.head,
      headerOffsets.tail,
      headerOffsets.gate,
      headerOffsets.alive,
      headerOffsets.commands,
      headerOffsets.gateWaits,
    ]).toEqual(offsets);
  });
});

describe('consumer', () => {
  test('takes what the producer put, in order, through many rounds', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 900 }), { minLength: 1, maxLength: 200 }),
        (payloads) => {
          const ring = createRing(DATA_BYTES);
          const producer = new RingProducer(ring);
          const consumer = new RingConsumer(ring);
          payloads.forEach((payload, index) => {
            expect(producer.put(record(index, payload))).toBe(true);
            const taken = consumer.next();
            if (taken.kind !== 'record') throw new Error(taken.kind);
            expect(taken.record.op).toBe(index);
            expect(taken.record.payload.subarray(0, payload.length)).toEqual(payload);
            consumer.publishTail();
          });
          expect(consumer.next()).toEqual({ kind: 'empty' });
        },
      ),
    );
  });

  test('gives the call its name and the reply its place', () => {
    const ring = createRing(DATA_BYTES);
    const call = callByName('cuStreamQuery');
    if (call === null) throw new Error('no cuStreamQuery');
    const reply = { slot: 3, sequence: 9 };
    new RingProducer(ring).put({ op: call.id, payload: new Uint8Array(8), reply, context: 0n });
    const consumer = new RingConsumer(ring);
    const taken = consumer.next();
    if (taken.kind !== 'record') throw new Error(taken.kind);
    expect(taken.record.call).toBe('cuStreamQuery');
    expect(taken.record.isSync).toBe(true);
    consumer.reply(taken.record, 600, new Uint8Array([1, 2]));
    const slot = ring.replySlotOffset(3);
    expect([ring.loadAt(slot), ring.loadAt(slot + 8), ring.loadAt(slot + 12)]).toEqual([9, 600, 2]);
  });

  test('is full before anything is overwritten', () => {
    const ring = createRing(DATA_BYTES);
    const producer = new RingProducer(ring);
    let put = 0;
    while (producer.put(record(put, new Uint8Array(32)))) put += 1;
    expect(put).toBe(DATA_BYTES / 64);
  });

  test('never leaves the data area, whatever the ring holds', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.uint8Array({ minLength: 64, maxLength: DATA_BYTES }),
        (head, tail, bytes) => {
          const ring = createRing(DATA_BYTES);
          ring.bytes.set(bytes, ring.geometry.dataOffset);
          ring.setLong('tail', tail - (tail % BigInt(RECORD_ALIGN)));
          ring.setLong('head', head);
          const consumer = new RingConsumer(ring);
          for (let taken = consumer.next(); taken.kind === 'record'; taken = consumer.next()) {
            expect(taken.record.payload.length).toBeLessThan(DATA_BYTES);
          }
        },
      ),
    );
  });

  test('stays corrupt', () => {
    const ring = createRing(DATA_BYTES);
    ring.setLong('head', 7n);
    const consumer = new RingConsumer(ring);
    expect(consumer.next()).toEqual({ kind: 'corrupt', reason: 'bad head' });
    ring.setLong('head', 0n);
    expect(consumer.next()).toEqual({ kind: 'corrupt', reason: 'bad head' });
  });
});

test('a ring of another version is refused', () => {
  const ring = createRing(DATA_BYTES);
  ring.setWord('version', RING_VERSION + 1);
  const { buffer } = ring.bytes;
  expect(() => new RingView(buffer as SharedArrayBuffer)).toThrow(/not one of this version/);
});
