// SPDX-License-Identifier: Apache-2.0
// explain: what a program holds, what stands in the way of a dump, and how one would go.
import type { Command } from 'commander';
import { PhosError } from '../../errors/phos-error.ts';
import type { DumpPlan, ExplainResponse } from '../../gen/proto/phos/v1/control_pb.ts';
import { action, ASK_MS, client, parseDuration, resolveTarget } from '../context.ts';
import { bytes, duration, table } from '../format.ts';
import type { Output } from '../output.ts';

export function addExplainCommand(program: Command): void {
  action(
    program
      .command('explain')
      .description('tell what a program holds, whether it can be dumped, and how that would go')
      .argument('[target]', 'pid of the root of its process tree, or job id')
      .option('--pid <pid>', 'the same as the argument')
      .option('--mode <mode>', 'plan for auto, snapshot, cow or stop', 'auto')
      .option('--max-stall <time>', 'tell whether this contract would hold, such as 50ms')
      .option('--pre-dump', 'plan for a pre-dump: device memory only, no process stop', false),
    explain,
  );
}

interface ExplainOptions {
  readonly pid?: string;
  readonly mode: string;
  readonly maxStall?: string;
  readonly preDump: boolean;
}

async function explain(output: Output, options: ExplainOptions, target?: string): Promise<void> {
  const named = target ?? options.pid;
  if (named === undefined || (target !== undefined && options.pid !== undefined)) {
    throw new PhosError('USAGE', 'name one program: phos explain PID, or phos explain --pid PID');
  }
  const request = {
    pid: await resolveTarget(named),
    mode: options.mode,
    maxStallMs: options.maxStall === undefined ? 0 : parseDuration(options.maxStall),
    gpuOnly: options.preDump,
  };
  const found = await client().explain(request, { timeoutMs: ASK_MS });
  output.result(explainData(found), explainText(found));
}

function explainData(found: ExplainResponse) {
  return {
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
    plan: found.plan === undefined ? null : planData(found.plan),
  };
}

function planData(plan: DumpPlan) {
  return { ...plan, refusal: plan.refusal === '' ? null : plan.refusal };
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
  return [
    ...parts,
    ...(way.length === 0 ? ['nothing else is in the way of a dump'] : way),
    ...(found.plan === undefined ? [] : planText(found.plan)),
  ].join('\n');
}

function planText(plan: DumpPlan): string[] {
  const modes = plan.clients.map((one) => [
    String(one.pid),
    one.mode,
    bytes(one.deviceBytes),
    bytes(one.freeBytes),
    duration(one.holdMs),
    one.reason,
  ]);
  const rates = plan.rates.map((one) => [
    one.name,
    duration(one.baseMs),
    one.bytesPerSecond === 0 ? '' : `${bytes(one.bytesPerSecond)}/s`,
    one.source,
  ]);
  const stop = plan.gpuOnly ? 'none (pre-dump)' : duration(plan.stopMs);
  return [
    `plan of a ${plan.gpuOnly ? 'pre-dump' : 'dump'} (times are predicted)`,
    `submissions held ${duration(plan.stallMs)}, of which process stop ${stop}`,
    `device memory ${bytes(plan.deviceBytes)}, process memory ${bytes(plan.cpuBytes)}, ` +
      `in all ${duration(plan.totalMs)}`,
    ...(modes.length === 0
      ? []
      : [table(['PID', 'MODE', 'DEVICE', 'FREE', 'HOLD', 'BECAUSE'], modes)]),
    table(['RATE', 'FIXED', 'PACE', 'FROM'], rates),
    ...(plan.refusal === '' ? [] : [`would be refused: ${plan.refusal}`]),
  ];
}
