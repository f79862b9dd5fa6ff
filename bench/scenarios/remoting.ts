// SPDX-License-Identifier: Apache-2.0
// What forwarding the driver API costs: the same programs under phos and linked directly to the
// simulated device, turn by turn, so that a machine that grows slower hurts both alike.

import { join } from 'node:path';
import { buildDir, directEnv, PrivatePhos, start } from '../../scripts/lib/private-phos.ts';
import { median, spread } from '../lib/statistics.ts';

export interface RemotingOptions {
  readonly runs: number;
  /** Small counts: shows that it works, measures nothing. */
  readonly smoke: boolean;
  readonly say: (text: string) => void;
}

interface CallCosts {
  readonly startup_ms: number;
  readonly sync_p50_ns: number;
  readonly sync_p99_ns: number;
  readonly async_calls_per_s: number;
  /** One launch, seen by the program while the queue has room. */
  readonly launch_issue_ns: number;
  readonly local_call_ns: number;
}

interface StepsTimes {
  readonly startup_s: number;
  readonly steps_s: number;
  readonly digest: string;
}

export interface RemotingFigures extends Omit<CallCosts, 'startup_ms'> {
  /** The example from its first to its last step: time under phos by time on sim. */
  readonly program_ratio: number;
  readonly program_ratio_spread: number;
  readonly program_phos_s: number;
  readonly program_direct_s: number;
  /** Until the first step: what the program itself saw. */
  readonly startup_phos_ms: number;
  readonly startup_direct_ms: number;
  readonly direct: Omit<CallCosts, 'startup_ms'>;
  readonly sync_ratio: number;
  readonly async_ratio: number;
  /** Steps of the example, chosen so that they take at least 2 s. */
  readonly program_steps: number;
  readonly runs: number;
  /** True: the counts were so small that the figures are noise. They show that it works. */
  readonly smoke: boolean;
  readonly samples: {
    readonly phos: readonly CallCosts[];
    readonly direct: readonly CallCosts[];
    readonly program_phos_s: readonly number[];
    readonly program_direct_s: readonly number[];
  };
}

type Runner = (command: readonly string[]) => Promise<{ stdout: string; stderr: string }>;

const timeoutMs = 300_000;

/** The program's steps take at least this long: the ratio of shorter times is noise. */
const leastProgramS = 2;
const usualSteps = 200;

/**
 * A start under phos is followed by the start of the next warm executor, which has a core to
 * itself for a while; what a call costs is measured after that.
 */
const settleMs = 1000;

async function callCosts(run: Runner, smoke: boolean): Promise<CallCosts> {
  const counts = smoke
    ? ['--sync', '2000', '--async', '100000', '--launch', '2000', '--local', '100000']
    : ['--settle-ms', String(settleMs)];
  const { stdout } = await run([join(buildDir, 'bench/call_costs'), ...counts]);
  return JSON.parse(stdout) as CallCosts;
}

async function steps(run: Runner, count: number, smoke: boolean): Promise<StepsTimes> {
  const size = ['--steps', String(count), ...(smoke ? ['--mib', '4'] : [])];
  const { stdout, stderr } = await run([join(buildDir, 'examples/steps/steps'), ...size]);
  const times = /times: startup ([\d.]+) s, steps ([\d.]+) s/.exec(stderr);
  if (times === null) throw new Error(`the example told no times:\n${stderr.slice(-2000)}`);
  return { startup_s: Number(times[1]), steps_s: Number(times[2]), digest: stdout.trim() };
}

/** How many steps take a tenth longer than the least time on this machine. */
export function stepsFor(measuredSteps: number, measuredS: number): number {
  const wanted = Math.ceil((measuredSteps * leastProgramS * 11) / (10 * measuredS));
  return Math.max(measuredSteps, wanted);
}

function directRunner(): Runner {
  return async (command) => {
    const { code, stdout, stderr } = await start(command, { timeoutMs, env: directEnv }).ended;
    if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}:\n${stderr}`);
    return { stdout, stderr };
  };
}

function phosRunner(phos: PrivatePhos): Runner {
  return async (command) => {
    const args = ['run', '--', ...command];
    const { code, stdout, stderr } = await phos.command(args, { timeoutMs }).ended;
    if (code !== 0) throw new Error(`phos ${args.join(' ')} ended with ${code}:\n${stderr}`);
    return { stdout, stderr };
  };
}

function medians(samples: readonly CallCosts[]): Omit<CallCosts, 'startup_ms'> {
  const of = (pick: (costs: CallCosts) => number): number => median(samples.map(pick));
  return {
    sync_p50_ns: of((costs) => costs.sync_p50_ns),
    sync_p99_ns: of((costs) => costs.sync_p99_ns),
    async_calls_per_s: Math.round(of((costs) => costs.async_calls_per_s)),
    launch_issue_ns: of((costs) => costs.launch_issue_ns),
    local_call_ns: of((costs) => costs.local_call_ns),
  };
}

/** Every pair of runs must have computed the same, or the times compare nothing. */
function requireSameDigest(pairs: readonly (readonly [StepsTimes, StepsTimes])[]): void {
  const digests = new Set(pairs.flat().map(({ digest }) => digest));
  if (digests.size !== 1)
    throw new Error(`the runs computed different results: ${[...digests].join(', ')}`);
}

interface Samples {
  readonly phos: CallCosts[];
  readonly direct: CallCosts[];
  readonly programs: (readonly [StepsTimes, StepsTimes])[];
  readonly steps: number;
}

async function measure(phos: PrivatePhos, options: RemotingOptions): Promise<Samples> {
  const under = phosRunner(phos);
  const bare = directRunner();
  const count = options.smoke
    ? 5
    : stepsFor(usualSteps, (await steps(bare, usualSteps, false)).steps_s);
  const samples: Samples = { phos: [], direct: [], programs: [], steps: count };
  for (let run = 1; run <= options.runs; run += 1) {
    options.say(`run ${run} of ${options.runs}`);
    // Who goes first alternates, so that neither always finds the warmer machine.
    const phosFirst = run % 2 === 1;
    const first = phosFirst ? under : bare;
    const second = phosFirst ? bare : under;
    const costs = [await callCosts(first, options.smoke), await callCosts(second, options.smoke)];
    const times = [
      await steps(first, count, options.smoke),
      await steps(second, count, options.smoke),
    ];
    if (!phosFirst) {
      costs.reverse();
      times.reverse();
    }
    samples.phos.push(costs[0] as CallCosts);
    samples.direct.push(costs[1] as CallCosts);
    samples.programs.push([times[0] as StepsTimes, times[1] as StepsTimes]);
  }
  return samples;
}

/** Runs the scenario in a phos of its own. */
export async function remoting(options: RemotingOptions): Promise<RemotingFigures> {
  const phos = new PrivatePhos();
  try {
    await phos.must(['start']);
    const samples = await measure(phos, options);
    requireSameDigest(samples.programs);
    return summarise(samples, options.smoke);
  } finally {
    await phos.close();
  }
}

function summarise(
  { phos, direct, programs, steps: count }: Samples,
  smoke: boolean,
): RemotingFigures {
  const under = medians(phos);
  const bare = medians(direct);
  const phosTimes = programs.map(([times]) => times);
  const directTimes = programs.map(([, times]) => times);
  const ratios = programs.map(([a, b]) => a.steps_s / b.steps_s);
  return {
    ...under,
    program_ratio: round(median(ratios)),
    program_ratio_spread: round(spread(ratios)),
    program_phos_s: median(phosTimes.map((times) => times.steps_s)),
    program_direct_s: median(directTimes.map((times) => times.steps_s)),
    startup_phos_ms: round(median(phosTimes.map((times) => times.startup_s)) * 1e3),
    startup_direct_ms: round(median(directTimes.map((times) => times.startup_s)) * 1e3),
    direct: bare,
    sync_ratio: round(under.sync_p50_ns / bare.sync_p50_ns),
    async_ratio: round(bare.async_calls_per_s / under.async_calls_per_s),
    program_steps: count,
    runs: programs.length,
    smoke,
    samples: {
      phos,
      direct,
      program_phos_s: phosTimes.map((times) => times.steps_s),
      program_direct_s: directTimes.map((times) => times.steps_s),
    },
  };
}

function round(value: number): number {
  return Math.round(value * 1e4) / 1e4;
}
