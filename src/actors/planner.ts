// SPDX-License-Identifier: Apache-2.0
// The facts that a plan is made of, asked of the executors of a tree and of /proc.
import type { MethodResult } from '../executor/protocol.ts';
import { readDirtyBytes } from '../host/proc.ts';
import { type ClientFact, type DumpPlan, type DumpWish, planDump } from '../model/dump-plan.ts';
import { deadlines } from '../model/limits.ts';
import type { ClientEntry } from './client-entry.ts';
import { onAll } from './effects.ts';
import type { JobClients } from './job-clients.ts';
import type { RateBook } from './rate-book.ts';

/**
 * Plans a dump of a tree as it is now; touches nothing.
 *
 * @param pids every process of the tree
 * @throws PhosError NOT_FOUND when an executor is gone, UNSUPPORTED and DEVICE as planDump()
 */
export async function planTree(
  clients: JobClients,
  pids: readonly number[],
  rates: RateBook,
  wish: Omit<DumpWish, 'maxStallMs'>,
): Promise<DumpPlan> {
  const facts = await onAll(clients.members, async (member) =>
    factOf(
      member,
      await clients.executor(member).request('status', {}, deadlines.executorRequestMs),
    ),
  );
  const cpuBytes = pids.reduce((sum, pid) => sum + readDirtyBytes(pid), 0n);
  return planDump(facts, cpuBytes, rates.rates, wish);
}

function factOf(member: ClientEntry, status: MethodResult<'status'>): ClientFact {
  const total = status.device?.totalBytes ?? 0n;
  const reserved = status.deviceBytesReserved;
  return {
    clientId: member.facts.clientId,
    pid: member.pid,
    deviceBytes: status.deviceBytesUsed,
    freeBytes: total > reserved ? total - reserved : 0n,
    offers: ['snapshot', 'cow', 'stop'],
  };
}
