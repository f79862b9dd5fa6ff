// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type ClientFact,
  contractBroken,
  planDump,
  SNAPSHOT_RESERVE_BYTES,
} from '../../src/model/dump-plan.ts';
import { assumedRates, learn, predictMs, type Rate } from '../../src/model/rates.ts';

const GIB = 1n << 30n;
const client: ClientFact = {
  clientId: 'a',
  pid: 7,
  deviceBytes: GIB,
  freeBytes: 2n * GIB,
  offers: ['snapshot', 'cow', 'stop'],
};
const rates = assumedRates.sim;
const auto = { mode: 'auto', gpuOnly: false } as const;

describe('a plan', () => {
  it('takes a snapshot where it fits, copy on write where it does not', () => {
    const modeAt = (freeBytes: bigint) =>
      planDump([{ ...client, freeBytes }], 0n, rates, auto).clients[0]?.mode;
    expect(modeAt(GIB + SNAPSHOT_RESERVE_BYTES)).toBe('snapshot');
    expect(modeAt(GIB + SNAPSHOT_RESERVE_BYTES - 1n)).toBe('cow');
  });

  it('mixes modes, and holds for the slowest client', () => {
    const plan = planDump(
      [client, { ...client, clientId: 'b', offers: ['stop'] }],
      GIB,
      rates,
      auto,
    );
    expect(plan.clients.map((one) => one.mode)).toEqual(['snapshot', 'stop']);
    const [first, second] = plan.clients;
    expect(second?.holdMs).toBeGreaterThan(first?.holdMs ?? 0);
    expect(plan.stallMs).toBeCloseTo(rates.drain.baseMs + (second?.holdMs ?? 0) + plan.stopMs);
    expect(plan.stopModeStallMs).toBeCloseTo(plan.stallMs);
  });

  it('stops no process for a pre-dump', () => {
    const plan = planDump([client], GIB, rates, { mode: 'auto', gpuOnly: true });
    expect([plan.stopMs, plan.cpuBytes]).toEqual([0, 0n]);
    expect(plan.stallMs).toBeLessThan(planDump([client], GIB, rates, auto).stallMs);
  });

  it('refuses a mode that cannot be done, and names the cure', () => {
    const small = { ...client, freeBytes: GIB - 1n };
    expect(() => planDump([small], 0n, rates, { ...auto, mode: 'snapshot' })).toThrow(
      /needs 1073741824 bytes.*--mode cow or stop/,
    );
    const old: ClientFact = { ...client, offers: ['stop'] };
    expect(() => planDump([old], 0n, rates, { ...auto, mode: 'cow' })).toThrow(/use one of stop/);
  });

  it('keeps or breaks a contract by what it predicts', () => {
    const plan = planDump([client], GIB, rates, auto);
    expect(contractBroken(plan, null)).toBeNull();
    expect(contractBroken(plan, plan.stallMs)).toBeNull();
    const broken = contractBroken(plan, plan.stallMs - 1);
    expect(broken).toMatchObject({ code: 'CONFLICT' });
    expect(broken?.message).toContain(plan.stallMs.toFixed(1));
    expect(broken?.message).toContain('pre-dump');
  });
});

describe('rates', () => {
  const known: Rate = { baseMs: 10, bytesPerMs: 1e6, source: 'assumed' };

  it('come to what was measured', () => {
    const pace = fc.double({ min: 1e5, max: 1e9, noNaN: true });
    fc.assert(
      fc.property(pace, (bytesPerMs) => {
        const ms = 5 + Number(GIB) / bytesPerMs;
        let rate = known;
        for (let round = 0; round < 12; round += 1) rate = learn(rate, GIB, ms, 'measured');
        expect(predictMs(rate, GIB) / ms).toBeCloseTo(1, 1);
      }),
    );
  });

  it('take the fixed cost from what moves little, and the pace from what moves much', () => {
    const small = learn(known, 0n, 3, 'measured');
    expect(small).toEqual({ baseMs: 3, bytesPerMs: 1e6, source: 'measured' });
    const large = learn(small, GIB, 103, 'measured');
    expect(large.baseMs).toBe(3);
    expect(large.bytesPerMs).toBeCloseTo((1e6 + Number(GIB) / 100) / 2);
  });

  it('believe the first measurement wholly', () => {
    expect(predictMs(learn(known, GIB, 2_000, 'measured'), GIB)).toBeCloseTo(2_000);
  });
});
