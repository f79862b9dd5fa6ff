// SPDX-License-Identifier: Apache-2.0
// Errors: returned where CUDA returns them, and kept to the client that made them.

import { Failure, kept, mustEnd, sameResult } from '../lib/cases.mjs';
import { resultOf } from '../lib/compare.mjs';
import { usedMemory } from '../lib/memory.mjs';
import { built, runNative, runUnder, source } from '../lib/place.mjs';
import { until } from '../lib/processes.mjs';

const MIB = 2 ** 20;
const FREED_WITHIN_MS = 1000;
const ptx = built('examples/steps/steps.ptx');
const program = (name, ...more) => ['python3', source('test/gpu/errors.py'), name, ptx, ...more];

/** A client that holds memory, and where it is. */
async function hold(phos, mib, deadlineMs) {
  let holding = null;
  const argv = program('holder', `${mib}`);
  const job = phos.start(['run', '--', ...argv], {
    deadlineMs,
    onLine: (line) => {
      holding = /^holding (\d+)/.exec(line)?.[1] ?? holding;
    },
  });
  let over = null;
  void job.ended.then((ended) => {
    over = ended;
  });
  await until('a client that holds memory', () => over !== null || holding !== null, deadlineMs);
  if (holding !== '0') throw new Failure(`its allocation answered ${holding}`, { run: over });
  const { runs, clients } = await phos.json(['ps']);
  const run = runs.find((one) => one.argv.join('\0') === argv.join('\0'));
  const client = clients.find((one) => one.pid === run?.pid);
  if (client === undefined) throw new Failure('phos ps does not show it', { runs, clients });
  return { job, client };
}

/** An illegal address ends one client's context; a second one goes on through it. */
const illegalAddress = {
  name: 'an illegal address ends one client only',
  deadlineMs: 60_000,
  run: async ({ phos, deadlineMs }) => {
    const native = await runNative(phos, program('illegal'), { deadlineMs });
    const second = runUnder(phos, program('steady', '6'), { deadlineMs });
    const under = await runUnder(phos, program('illegal'), { deadlineMs, env: { PHOS_LOG: '1' } });
    const wanted = resultOf(mustEnd(native, 'without phos').stdout);
    const found = resultOf(mustEnd(under, 'under phos').stdout);
    const other = mustEnd(await second, 'the second client');
    const details = { wanted, found, other: resultOf(other.stdout), run: kept(under) };
    if (JSON.stringify(wanted.exact) !== JSON.stringify(found.exact)) {
      throw new Failure('the answers differ from those without phos', details);
    }
    if (resultOf(other.stdout)?.exact.answer !== 0) {
      throw new Failure('the second client met an error', details);
    }
    return { ...details, names_the_kernel: phos.troubles().some((line) => line.includes('fill')) };
  },
};

/** Memory of a client that was killed comes back within a second. */
function killClient(driver) {
  const mib = driver === 'sim' ? 64 : 16 * 1024;
  return {
    name: `a killed client gives ${mib} MiB back`,
    alone: true,
    deadlineMs: 90_000,
    run: async ({ phos, deadlineMs }) => {
      const { job, client } = await hold(phos, mib, deadlineMs);
      const before = driver === 'cuda' ? usedMemory() : null;
      const began = performance.now();
      process.kill(client.pid, 'SIGKILL');
      const freed =
        driver === 'cuda'
          ? () => before - usedMemory() > mib * MIB * 0.9
          : async () =>
              !(await phos.json(['ps'])).clients.some((one) => one.clientId === client.clientId);
      await until('its memory back', freed, 20_000);
      const ms = Math.round(performance.now() - began);
      await job.ended;
      const details = { freed_within_ms: ms };
      if (driver === 'cuda' && ms > FREED_WITHIN_MS) {
        throw new Failure(`its memory was back after ${ms} ms`, details);
      }
      return details;
    },
  };
}

/** An executor that was killed is a CUDA error to its client, never a hang. */
const killExecutor = {
  name: 'a killed executor is an error to its client',
  deadlineMs: 60_000,
  run: async ({ phos, deadlineMs }) => {
    const { job, client } = await hold(phos, 16, deadlineMs);
    const began = performance.now();
    process.kill(client.executorPid, 'SIGKILL');
    const ended = mustEnd(await job.ended, 'the client');
    const error = resultOf(ended.stdout)?.exact.error;
    const details = { error, ended_after_ms: Math.round(performance.now() - began) };
    if (typeof error !== 'number' || error === 0) {
      throw new Failure('it saw no error', { ...details, run: kept(ended) });
    }
    return details;
  },
};

const same = (name, title, deadlineMs) =>
  sameResult({ name: title, command: program(name), deadlineMs });

export const errors = {
  parallel: 3,
  budgetMs: 100_000,
  cases: ({ driver }) => [
    same('limits', 'errors at the call are the same', 40_000),
    illegalAddress,
    killExecutor,
    killClient(driver),
    ...(driver === 'sim'
      ? []
      : [{ ...same('out-of-memory', 'torch goes on after out of memory', 90_000), alone: true }]),
  ],
};
