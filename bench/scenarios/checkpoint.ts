// SPDX-License-Identifier: Apache-2.0
// Checkpoints of a program that goes on, on `sim`: how long it is held, as phos tells and as a
// heartbeat inside it feels, how fast its memory streams out, how much slower it is meanwhile.
// The peer is a raw memcpy of the same bytes in a process of its own: the least that a copy costs.

import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildDir, PrivatePhos, start } from '../../scripts/lib/private-phos.ts';
import { waitUntil } from '../../src/host/wait.ts';

const STEP_MS = 300_000;
const SETTLE_MS = 1_500;
/** Buffers of a raw copy: far larger than any cache, small beside the machine. */
const COPY_MIB = 64;
/** What a dump may add to the process stop, in what the heartbeat feels. */
const GRACE_MS = 30;

export interface CheckpointOptions {
  /** A small program: shows that it works, measures nothing. */
  readonly smoke: boolean;
  readonly say: (text: string) => void;
}

/** `ratio` is phos by peer; a goal is the most it may be for times, the least for rates. */
export interface CheckpointRow {
  readonly name: string;
  readonly peer: number;
  readonly phos: number;
  readonly unit: 'ms' | 'MB/s' | 'steps/s';
  readonly ratio: number;
  readonly goal: number | null;
}

export interface CheckpointFigures {
  readonly mib: number;
  readonly modes: Readonly<Record<string, string>>;
  readonly rows: readonly CheckpointRow[];
}

interface Report {
  readonly stallMs: number;
  readonly holdMs: number;
  readonly stopMs: number;
  readonly modes: readonly string[];
  readonly stages: readonly {
    readonly stage: string;
    readonly ms: number;
    readonly bytes: number;
  }[];
}

/** One line of the program: what its heart felt and how far its work has come. */
interface Beat {
  readonly atMs: number;
  readonly gapMs: number;
  readonly steps: number;
}

function parseBeats(text: string): Beat[] {
  const lines = text.matchAll(/^at (\d+) gap (\d+) steps (\d+)$/gm);
  return [...lines].map(([, at, gap, steps]) => ({
    atMs: Number(at),
    gapMs: Number(gap) / 1000,
    steps: Number(steps),
  }));
}

/** CLOCK_MONOTONIC in milliseconds, as the program tells it. */
function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}

function between(beats: readonly Beat[], from: number, to: number): Beat[] {
  return beats.filter((beat) => beat.atMs >= from && beat.atMs <= to);
}

function stepsPerSecond(beats: readonly Beat[]): number {
  const [first] = beats;
  const last = beats.at(-1);
  if (first === undefined || last === undefined || last.atMs === first.atMs) return 0;
  return ((last.steps - first.steps) * 1000) / (last.atMs - first.atMs);
}

/** Copies `mib` once through buffers that are warm. @returns milliseconds */
async function rawCopy(mib: number): Promise<number> {
  const source = [
    `const a = Buffer.alloc(${COPY_MIB} << 20, 1), b = Buffer.alloc(${COPY_MIB} << 20);`,
    'a.copy(b);',
    'const begun = performance.now();',
    `for (let i = 0; i < ${mib / COPY_MIB}; i += 1) a.copy(b);`,
    'console.log(performance.now() - begun);',
  ].join('\n');
  const { code, stdout, stderr } = await start([process.execPath, '-e', source], {
    timeoutMs: STEP_MS,
  }).ended;
  if (code !== 0) throw new Error(`the raw copy ended with ${code}: ${stderr}`);
  return Number(stdout);
}

interface Window {
  readonly from: number;
  readonly to: number;
}

async function within<T>(
  step: () => Promise<T>,
): Promise<{ readonly got: T; readonly at: Window }> {
  const from = monotonicMs();
  const got = await step();
  return { got, at: { from, to: monotonicMs() } };
}

interface Program {
  readonly pid: number;
  readonly beats: () => Beat[];
  readonly end: () => Promise<void>;
}

async function startProgram(phos: PrivatePhos, mib: number): Promise<Program> {
  const stopFile = join(phos.folder, 'stop');
  const ptx = join(buildDir, 'examples/steps/steps.ptx');
  const heartbeat = join(buildDir, 'test/subjects/heartbeat');
  const started = phos.command(['run', '--', heartbeat, ptx, String(mib), stopFile], {
    timeoutMs: STEP_MS * 4,
  });
  let text = '';
  started.child.stdout?.on('data', (data: string) => {
    text += data;
  });
  const beats = (): Beat[] => parseBeats(text);
  await waitUntil(() => beats().length >= 10, STEP_MS, 'the heart does not beat');
  const { runs } = await phos.json<{ runs: { pid: number }[] }>(['ps']);
  const end = async (): Promise<void> => {
    writeFileSync(stopFile, '');
    const { code, stderr } = await started.ended;
    if (code !== 0) throw new Error(`the program ended with ${code}: ${stderr}`);
  };
  return { pid: runs[0]?.pid ?? 0, beats, end };
}

export async function checkpoint(options: CheckpointOptions): Promise<CheckpointFigures> {
  const mib = options.smoke ? 64 : 1024;
  const phos = new PrivatePhos();
  try {
    await phos.must(['start']);
    options.say(`a program with ${mib} MiB of device memory`);
    const program = await startProgram(phos, mib);
    const rest = () => new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    const dump = async (verb: string, name: string, ...more: string[]) => {
      options.say(name);
      const folder = join(phos.folder, name);
      const args = [verb, String(program.pid), '--dir', folder, '-q', ...more];
      const done = await within(() => phos.json<Report>(args, STEP_MS));
      rmSync(folder, { recursive: true });
      return done;
    };
    const still = await within(rest);
    options.say('a raw copy beside the program');
    const copied = await within(async () => {
      const ms = await rawCopy(mib);
      await rawCopy(mib);
      return ms;
    });
    const pre = await dump('pre-dump', 'pre-dump');
    const whole = await dump('dump', 'dump', '--leave-running');
    await rest();
    await program.end();
    const beats = program.beats();
    const rows = rowsOf({ mib, beats, still: still.at, copied, pre, whole });
    const modes = { 'pre-dump': pre.got.modes.join(), dump: whole.got.modes.join() };
    return { mib, modes, rows };
  } finally {
    await phos.close();
  }
}

interface Measured {
  readonly mib: number;
  readonly beats: readonly Beat[];
  readonly still: Window;
  readonly copied: { readonly got: number; readonly at: Window };
  readonly pre: { readonly got: Report; readonly at: Window };
  readonly whole: { readonly got: Report; readonly at: Window };
}

function rowsOf(m: Measured): CheckpointRow[] {
  const row = (
    name: string,
    unit: CheckpointRow['unit'],
    peer: number,
    phos: number,
    goal: number | null,
  ): CheckpointRow => ({
    name,
    peer: round(peer),
    phos: round(phos),
    unit,
    ratio: peer > 0 ? round(phos / peer) : 0,
    goal,
  });
  const copyMs = m.copied.got;
  const gap = (at: Window): number =>
    Math.max(0, ...between(m.beats, at.from, at.to + 100).map((beat) => beat.gapMs));
  const pace = (at: Window): number => stepsPerSecond(between(m.beats, at.from, at.to));
  const stream = (one: Report): number => {
    const found = one.stages.find(({ stage }) => stage === 'stream');
    return found === undefined || found.ms === 0 ? 0 : found.bytes / found.ms / 1000;
  };
  const { pre, whole } = m;
  return [
    row('pre-dump: stall', 'ms', copyMs, pre.got.stallMs, 1.5),
    row('pre-dump: device hold', 'ms', copyMs, pre.got.holdMs, 1.2),
    row('pre-dump: longest heartbeat gap', 'ms', copyMs, gap(pre.at), 1.5),
    row(
      'pre-dump: device memory to image',
      'MB/s',
      (m.mib * 1.048576e3) / copyMs,
      stream(pre.got),
      null,
    ),
    row('pre-dump: pace of the program', 'steps/s', pace(m.copied.at), pace(pre.at), 0.9),
    row('dump: stall', 'ms', whole.got.stopMs + GRACE_MS + copyMs, whole.got.stallMs, 1),
    row(
      'dump: longest heartbeat gap',
      'ms',
      whole.got.stopMs + GRACE_MS + copyMs,
      gap(whole.at),
      1,
    ),
    row('dump: pace of the program', 'steps/s', pace(m.copied.at), pace(whole.at), null),
    row('at rest: longest heartbeat gap', 'ms', 1, gap(m.still), null),
  ];
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}

/** Rows that miss their goal. */
export function missed(rows: readonly CheckpointRow[]): CheckpointRow[] {
  return rows.filter(
    ({ unit, ratio, goal }) => goal !== null && (unit === 'ms' ? ratio > goal : ratio < goal),
  );
}
