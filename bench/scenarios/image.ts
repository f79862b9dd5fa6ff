// SPDX-License-Identifier: Apache-2.0
// Writing and reading an image against the same bytes moved by threads with O_DIRECT and nothing
// else, turn by turn, on the disk of the folder that PHOS_BENCH_DIR names (else the temporary one).

import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { buildDir } from '../../scripts/lib/private-phos.ts';
import { median, spread } from '../lib/statistics.ts';

const run = promisify(execFile);
const TOOL_MS = 300_000;
const LANES = 2;
/** Of raw throughput: what the specification promises. */
const GOAL = 0.9;

export interface ImageOptions {
  readonly runs: number;
  /** A small image: shows that it works, measures nothing. */
  readonly smoke: boolean;
  readonly say: (text: string) => void;
}

/** One row of the figures: `ratio` is phos by peer, at least `goal`. */
export interface ImageRow {
  readonly name: string;
  readonly peer: number;
  readonly phos: number;
  readonly unit: 'MB/s';
  readonly ratio: number;
  readonly ratio_spread: number;
  readonly goal: number;
}

export interface ImageFigures {
  readonly bytes: number;
  readonly lanes: number;
  readonly runs: number;
  readonly rows: readonly ImageRow[];
}

type Tool = 'write' | 'raw-write' | 'read' | 'raw-read';

async function megabytesPerSecond(tool: Tool, folder: string, bytes: number): Promise<number> {
  const words = [tool, folder, `bytes=${bytes}`, `lanes=${LANES}`, 'bare=1'];
  const { stdout } = await run(join(buildDir, 'bench/image_tool'), words, { timeout: TOOL_MS });
  const { ms } = JSON.parse(stdout) as { readonly ms: number };
  return bytes / ms / 1000;
}

/** Peer and phos one after the other, the order changing from run to run. */
async function pair(
  peer: () => Promise<number>,
  phos: () => Promise<number>,
  peerFirst: boolean,
): Promise<{ readonly peer: number; readonly phos: number }> {
  if (peerFirst) return { peer: await peer(), phos: await phos() };
  const first = await phos();
  return { peer: await peer(), phos: first };
}

export async function image(options: ImageOptions): Promise<ImageFigures> {
  const { runs, smoke, say } = options;
  const bytes = (smoke ? 32 : 1024) * 2 ** 20;
  const base = mkdtempSync(join(process.env['PHOS_BENCH_DIR'] ?? tmpdir(), 'phos-bench-'));
  const writes: { peer: number; phos: number }[] = [];
  const reads: { peer: number; phos: number }[] = [];
  try {
    for (let i = 0; i < runs; i += 1) {
      const [own, raw] = [join(base, `image-${i}`), join(base, `raw-${i}`)];
      const peerFirst = i % 2 === 0;
      const move = (tool: Tool, folder: string) => () => megabytesPerSecond(tool, folder, bytes);
      writes.push(await pair(move('raw-write', raw), move('write', own), peerFirst));
      reads.push(await pair(move('raw-read', raw), move('read', own), peerFirst));
      for (const folder of [own, raw]) rmSync(folder, { recursive: true });
      say(`run ${i + 1} of ${runs}: write ${text(writes)}, read ${text(reads)}`);
    }
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
  return { bytes, lanes: LANES, runs, rows: [row('write', writes), row('read', reads)] };
}

function text(all: readonly { readonly peer: number; readonly phos: number }[]): string {
  const last = all.at(-1);
  return `${last?.phos.toFixed(0)} of ${last?.peer.toFixed(0)} MB/s`;
}

function row(
  name: string,
  all: readonly { readonly peer: number; readonly phos: number }[],
): ImageRow {
  const ratios = all.map(({ peer, phos }) => phos / peer);
  return {
    name: `image ${name}`,
    peer: median(all.map((one) => one.peer)),
    phos: median(all.map((one) => one.phos)),
    unit: 'MB/s',
    ratio: median(ratios),
    ratio_spread: spread(ratios),
    goal: GOAL,
  };
}

export function imageTable(figures: ImageFigures): string {
  const line = ({ name, phos, peer, unit, ratio, ratio_spread: wide, goal }: ImageRow): string =>
    `${name.padEnd(14)}${phos.toFixed(0)} ${unit}, raw ${peer.toFixed(0)} ${unit}: ` +
    `${ratio.toFixed(2)} (spread ${wide.toFixed(2)}, goal ${goal})\n`;
  return figures.rows.map(line).join('');
}
