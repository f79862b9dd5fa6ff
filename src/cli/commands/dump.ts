// SPDX-License-Identifier: Apache-2.0
// dump and pre-dump: one image, or with --every a chain of them until it is stopped.
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { PhosError } from '../../errors/phos-error.ts';
import type { JobResult } from '../../gen/proto/phos/v1/control_pb.ts';
import { action, client, parseDuration, parseMs, resolveTarget } from '../context.ts';
import { bytes, duration } from '../format.ts';
import { jobData, jobWarnings, stageTable } from '../job-report.ts';
import { followJob } from '../job-stream.ts';
import type { Output } from '../output.ts';

const TARGET = 'pid of the root of its process tree, or job id';
/** Images of a chain that --every makes before it stops by itself. */
const MAX_COUNT = 10_000;

export function addDumpCommands(program: Command): void {
  action(
    withHow(
      program
        .command('dump')
        .description('write a program, GPU and CPU side, into an image; ends it')
        .argument('<target>', TARGET)
        .requiredOption('--dir <folder>', 'the image: a folder that is not there yet, or empty')
        .option('--leave-running', 'the program goes on afterwards', false)
        .option('--close-tcp', 'TCP connections come back closed instead of refusing', false)
        .option('--prev <folder>', 'a pre-dump of the same program, for what has not changed since')
        .option('--every <time>', 'images in folders below --dir, until Ctrl-C, each on the last')
        .option('--count <n>', 'with --every: stop after so many images'),
    ),
    dump,
  );
  action(
    withHow(
      program
        .command('pre-dump')
        .description('write the device memory of a program that runs on; not restorable alone')
        .argument('<target>', TARGET)
        .requiredOption('--dir <folder>', 'the pre-dump: a folder that is not there yet, or empty'),
    ),
    preDump,
  );
}

function withHow(command: Command): Command {
  return command
    .option('--mode <mode>', 'auto, snapshot, cow (copy on write) or stop', 'auto')
    .option('--max-stall <time>', 'hold the program no longer than this, such as 50ms, or fail')
    .option('--parent <folder>', 'an earlier image of the same program, for unchanged chunks')
    .option('--drain <ms>', 'how long the device may take to reach the cut')
    .option('-q, --quiet', 'no progress', false);
}

interface How {
  readonly dir: string;
  readonly mode: string;
  readonly maxStall?: string;
  readonly parent?: string;
  readonly drain?: string;
  readonly quiet: boolean;
}
interface DumpOptions extends How {
  readonly leaveRunning: boolean;
  readonly closeTcp: boolean;
  readonly prev?: string;
  readonly every?: string;
  readonly count?: string;
}

/** The part of a request that both verbs have. */
function requestOf(pid: number, how: How) {
  return {
    pid,
    directory: resolve(how.dir),
    mode: how.mode,
    maxStallMs: how.maxStall === undefined ? 0 : parseDuration(how.maxStall),
    parent: how.parent === undefined ? '' : resolve(how.parent),
    drainMs: how.drain === undefined ? 0 : parseMs(how.drain),
  };
}

async function preDump(output: Output, options: How, target: string): Promise<void> {
  const request = { ...requestOf(await resolveTarget(target), options), gpuOnly: true };
  const result = await followJob((signal) => client().dump(request, { signal }), options.quiet);
  const first = `device memory of process ${result.rootPid} was written to ${result.directory}`;
  output.result(jobData(result), dumpText(result, `${first}; it cannot be restored alone`));
}

async function dump(output: Output, options: DumpOptions, target: string): Promise<void> {
  if (options.parent !== undefined && options.prev !== undefined) {
    throw new PhosError('USAGE', '--parent and --prev name the same thing; give one of them');
  }
  const pid = await resolveTarget(target);
  if (options.every === undefined) return dumpOnce(output, options, pid);
  return dumpChain(output, options, pid, options.every);
}

async function dumpOnce(output: Output, options: DumpOptions, pid: number): Promise<void> {
  const { leaveRunning, closeTcp, prev } = options;
  const request = { ...requestOf(pid, options), leaveRunning, closeTcp };
  if (prev !== undefined) request.parent = resolve(prev);
  const result = await followJob((signal) => client().dump(request, { signal }), options.quiet);
  const end = leaveRunning ? 'and goes on' : 'and was ended';
  const first = `process ${result.rootPid} was dumped to ${result.directory} ${end}`;
  output.result(jobData(result), dumpText(result, first));
}

/**
 * A chain: an image every so often, each on the one before. Ctrl-C in a dump takes that dump back,
 * between dumps it only ends the chain; the images that are there stay.
 */
async function dumpChain(
  output: Output,
  options: DumpOptions,
  pid: number,
  every: string,
): Promise<void> {
  const everyMs = parseDuration(every);
  const count = options.count === undefined ? MAX_COUNT : Number(options.count);
  if (!Number.isInteger(count) || count < 1 || count > MAX_COUNT) {
    throw new PhosError('USAGE', `--count must be a number from 1 to ${MAX_COUNT}`);
  }
  const chain = resolve(options.dir);
  mkdirSync(chain, { recursive: true, mode: 0o700 });
  const { closeTcp } = options;
  let parent = options.parent ?? options.prev;
  for (let at = 1; at <= count; at += 1) {
    const begun = performance.now();
    const dir = join(chain, String(at).padStart(4, '0'));
    const how = { ...options, dir, ...(parent === undefined ? {} : { parent }) };
    const request = { ...requestOf(pid, how), leaveRunning: true, closeTcp };
    const result = await followJob((signal) => client().dump(request, { signal }), options.quiet);
    const moved = result.stages.find((one) => one.stage === 'stream')?.bytes ?? 0n;
    const text = `${dir}: ${bytes(moved)} moved, stall ${duration(result.stallMs)}`;
    output.result(jobData(result), text);
    parent = dir;
    if (at < count) await pause(everyMs - (performance.now() - begun));
  }
}

/** Waits between two images. @throws PhosError CANCELLED on Ctrl-C */
async function pause(ms: number): Promise<void> {
  if (ms <= 0) return;
  const stop = new AbortController();
  let signal: NodeJS.Signals | null = null;
  const onSignal = (name: NodeJS.Signals): void => {
    signal = name;
    stop.abort();
  };
  const names = ['SIGINT', 'SIGTERM'] as const;
  for (const name of names) process.on(name, onSignal);
  try {
    await sleep(ms, undefined, { signal: stop.signal });
  } catch (cause) {
    throw new PhosError('CANCELLED', 'the chain was ended between two images; they stay', {
      cause,
      details: { signal },
    });
  } finally {
    for (const name of names) process.off(name, onSignal);
  }
}

function dumpText(result: JobResult, first: string): string {
  const modes = [...new Set(result.modes)].join(', ');
  const stop = result.stopMs > 0 ? duration(result.stopMs) : 'none';
  return [
    first,
    `image ${bytes(result.imageBytes)}, device memory ${bytes(result.deviceBytes)}` +
      (modes === '' ? '' : `, saved in mode ${modes}`),
    `stall ${duration(result.stallMs)} (submission held; ` +
      `${duration(result.predictedStallMs)} predicted)`,
    `  drain ${duration(result.drainMs)}, device hold ${duration(result.holdMs)}, ` +
      `process stop ${stop}, threads waited ${duration(result.gateWaitMs)}`,
    stageTable(result),
    ...jobWarnings(result),
  ].join('\n');
}
