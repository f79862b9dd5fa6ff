// SPDX-License-Identifier: Apache-2.0
// dump, restore, suspend, resume, explain.
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { ExplainResponse, JobResult } from '../../gen/proto/phos/v1/control_pb.ts';
import { action, ASK_MS, client, parseMs, resolveTarget } from '../context.ts';
import { follow, terminalSize } from '../foreground.ts';
import { bytes, duration, rate, table } from '../format.ts';
import { followJob } from '../job-stream.ts';
import type { Output } from '../output.ts';

const TARGET = 'pid of the root of its process tree, or job id';

export function addJobCommands(program: Command): void {
  action(
    program
      .command('dump')
      .description('write a program, GPU and CPU side, into an image; ends it')
      .argument('<target>', TARGET)
      .requiredOption('--dir <folder>', 'the image: a folder that is not there yet, or empty')
      .option('--leave-running', 'the program goes on afterwards', false)
      .option('--drain <ms>', 'how long the device may take to reach the cut')
      .option('--close-tcp', 'TCP connections come back closed instead of refusing', false)
      .option('-q, --quiet', 'no progress', false),
    dump,
  );
  action(
    program
      .command('restore')
      .description('bring a program back from an image; exits as the program does')
      .argument('<folder>', 'the image')
      .option('-d, --detach', 'leave it in the background; its output goes to a log', false)
      .option('--truncate', 'cut output files back that have grown since the dump', false)
      .option('-q, --quiet', 'no progress', false),
    restore,
  );
  action(
    program
      .command('suspend')
      .description('move a program out of the device; it waits until it is resumed')
      .argument('<target>', TARGET)
      .option('--drain <ms>', 'how long the device may take to reach the cut')
      .option('-q, --quiet', 'no progress', false),
    suspend,
  );
  action(
    program
      .command('resume')
      .description('bring a suspended program back into the device')
      .argument('<target>', TARGET)
      .option('-q, --quiet', 'no progress', false),
    resume,
  );
  action(
    program
      .command('explain')
      .description('tell what a program holds and what stands in the way of a dump')
      .argument('<target>', TARGET),
    explain,
  );
}

interface DumpOptions {
  readonly dir: string;
  readonly leaveRunning: boolean;
  readonly closeTcp: boolean;
  readonly drain?: string;
  readonly quiet: boolean;
}

async function dump(output: Output, options: DumpOptions, target: string): Promise<void> {
  const { leaveRunning, closeTcp } = options;
  const request = {
    pid: await resolveTarget(target),
    directory: resolve(options.dir),
    leaveRunning,
    closeTcp,
    drainMs: options.drain === undefined ? 0 : parseMs(options.drain),
  };
  const result = await followJob((signal) => client().dump(request, { signal }), options.quiet);
  const end = leaveRunning ? 'and goes on' : 'and was ended';
  output.result(
    data(result),
    [
      `process ${result.rootPid} was dumped to ${result.directory} ${end}`,
      `image ${bytes(result.imageBytes)}, device memory ${bytes(result.deviceBytes)}`,
      `stall ${duration(result.stallMs)} (submission held)`,
      `process stop ${duration(result.stopMs)}`,
      stageTable(result),
      ...warnings(result),
    ].join('\n'),
  );
}

interface RestoreOptions {
  readonly detach: boolean;
  readonly truncate: boolean;
  readonly quiet: boolean;
}

async function restore(output: Output, options: RestoreOptions, folder: string): Promise<number> {
  const size = options.detach ? null : terminalSize();
  const request = {
    directory: resolve(folder),
    truncate: options.truncate,
    attach: !options.detach,
    ...(size === null ? {} : { pty: size }),
  };
  const result = await followJob((signal) => client().restore(request, { signal }), options.quiet);
  const text = [
    `process ${result.rootPid} was restored from ${result.directory} as job ${result.keeperId}`,
    stageTable(result),
    ...warnings(result),
  ].join('\n');
  if (options.detach) {
    output.result(data(result), text);
    return 0;
  }
  // Standard output is the program's from here on.
  if (!options.quiet) process.stderr.write(`${text}\n`);
  return follow(result.keeperSocket, size, output);
}

async function suspend(
  output: Output,
  options: { readonly drain?: string; readonly quiet: boolean },
  target: string,
): Promise<void> {
  const drainMs = options.drain === undefined ? 0 : parseMs(options.drain);
  const pid = await resolveTarget(target);
  const result = await followJob(
    (signal) => client().suspend({ pid, drainMs }, { signal }),
    options.quiet,
  );
  const moved = `${bytes(result.deviceBytes)} moved out of the device`;
  output.result(
    data(result),
    [`process ${pid} is suspended, ${moved}`, stageTable(result), ...warnings(result)].join('\n'),
  );
}

async function resume(
  output: Output,
  options: { readonly quiet: boolean },
  target: string,
): Promise<void> {
  const pid = await resolveTarget(target);
  const result = await followJob((signal) => client().resume({ pid }, { signal }), options.quiet);
  const moved = `${bytes(result.deviceBytes)} moved into the device`;
  output.result(
    data(result),
    [`process ${pid} goes on, ${moved}`, stageTable(result), ...warnings(result)].join('\n'),
  );
}

function data(result: JobResult) {
  const { keeperId, keeperSocket: _, stages, ...rest } = result;
  return {
    ...rest,
    runJobId: keeperId,
    stages: stages.map((one) => ({
      stage: one.stage,
      ms: one.ms,
      bytes: one.bytes,
      bytesPerSecond: one.ms > 0 ? Math.round((Number(one.bytes) / one.ms) * 1000) : 0,
    })),
  };
}

function stageTable(result: JobResult): string {
  return table(
    ['STAGE', 'TIME', 'BYTES', 'RATE'],
    result.stages.map((one) => [
      one.stage,
      duration(one.ms),
      one.bytes === 0n ? '' : bytes(one.bytes),
      rate(one.bytes, one.ms),
    ]),
  );
}

function warnings(result: JobResult): string[] {
  return result.warnings.map((one) => `warning: ${one}`);
}

async function explain(output: Output, _: unknown, target: string): Promise<void> {
  const pid = await resolveTarget(target);
  const found = await client().explain({ pid }, { timeoutMs: ASK_MS });
  output.result(
    {
      clients: found.clients.map((one) => ({
        clientId: one.clientId,
        pid: one.pid,
        suspend: suspendOf(one),
        objects: one.objects.map((object) => ({
          ...object,
          handle: `0x${object.handle.toString(16)}`,
          unsaveable: object.unsaveable === '' ? null : object.unsaveable,
        })),
      })),
      obstacles: found.obstacles,
    },
    explainText(found),
  );
}

/** What a suspend would free, and what it leaves: it moves memory only. */
function suspendOf(one: ExplainResponse['clients'][number]) {
  return {
    movesBytes: one.objects.reduce((sum, object) => sum + object.bytes, 0n),
    staysObjects: one.objects.filter((object) => object.bytes === 0n).length,
  };
}

function explainText(found: ExplainResponse): string {
  const parts = found.clients.map((one) => {
    const rows = one.objects.map((object) => [
      object.type,
      `0x${object.handle.toString(16)}`,
      bytes(object.bytes),
      object.createdBy,
      object.unsaveable === '' ? 'yes' : `no: ${object.unsaveable}`,
    ]);
    const { movesBytes, staysObjects } = suspendOf(one);
    const suspend =
      `suspend moves ${bytes(movesBytes)} out of the device; the context and ` +
      `${staysObjects} objects without memory of their own (modules, streams, events) stay in it`;
    const headings = ['TYPE', 'HANDLE', 'BYTES', 'CREATED BY', 'SAVED'];
    return `process ${one.pid}\n${table(headings, rows)}\n${suspend}`;
  });
  const way = found.obstacles.map((one) => `in the way of a dump: ${one}`);
  return [...parts, ...(way.length === 0 ? ['nothing else is in the way of a dump'] : way)].join(
    '\n',
  );
}
