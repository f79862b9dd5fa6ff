// SPDX-License-Identifier: Apache-2.0
// `phos explain`: what a program holds, what stands in the way of a dump, and how one would go.
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ClientEntry } from '../actors/client-entry.ts';
import { JobClients } from '../actors/job-clients.ts';
import { JobRecord } from '../actors/job-record.ts';
import { planTree } from '../actors/planner.ts';
import type { Peer } from '../control/server.ts';
import { PhosError } from '../errors/phos-error.ts';
import type { DumpPlanSchema, ExplainRequest } from '../gen/proto/phos/v1/control_pb.ts';
import { JobCgroup } from '../host/cgroup.ts';
import { planCpuDump } from '../host/cpu-checkpoint.ts';
import { readTree } from '../host/proc.ts';
import { contractBroken, type DumpPlan } from '../model/dump-plan.ts';
import { clientsOfTree } from '../model/process-tree.ts';
import { rateNames, type Rates } from '../model/rates.ts';
import { ownerOfProcess } from './access.ts';
import type { ServedNode } from './served-node.ts';
import { type DumpWishRequest, wishOf } from './wish.ts';

const ASK_MS = 2_000;

export async function explain(node: ServedNode, request: ExplainRequest, caller: Peer) {
  const { pid } = request;
  ownerOfProcess(pid, caller);
  const tree = readTree(pid);
  const members = clientsOfTree(tree, [...node.supervisor.clients.values()]);
  const clients = await Promise.all(
    members.map(async (member) => {
      const executor = node.supervisor.executors.get(member.executorId ?? '')?.process;
      const found = await executor?.request('explain', {}, ASK_MS);
      return {
        clientId: member.facts.clientId,
        pid: member.pid,
        objects: (found?.objects ?? []).map((one) => ({
          ...one,
          unsaveable: one.unsaveable ?? '',
        })),
      };
    }),
  );
  const pids = tree.map((row) => row.pid);
  const planned = await planFor(node, members, pids, request);
  const obstacles = [
    ...(await obstaclesOf(node, pid, members)),
    ...(planned instanceof PhosError ? [planned.message] : []),
  ];
  return planned instanceof PhosError
    ? { clients, obstacles }
    : { clients, obstacles, plan: planned };
}

async function planFor(
  node: ServedNode,
  members: readonly ClientEntry[],
  pids: readonly number[],
  request: DumpWishRequest,
): Promise<MessageInitShape<typeof DumpPlanSchema> | PhosError> {
  const { supervisor, paths } = node;
  const wish = wishOf(request);
  const clients = new JobClients(supervisor, paths, new JobRecord(() => undefined));
  clients.members = members;
  try {
    clients.requireRunning('dumped');
    const plan = await planTree(clients, pids, supervisor.rates, wish);
    const refusal = contractBroken(plan, wish.maxStallMs)?.message ?? '';
    return { ...planMessage(plan, supervisor.rates.rates), refusal };
  } catch (thrown) {
    if (thrown instanceof PhosError) return thrown;
    throw thrown;
  }
}

export function planMessage(plan: DumpPlan, rates: Rates): MessageInitShape<typeof DumpPlanSchema> {
  return {
    ...plan,
    clients: [...plan.clients],
    rates: rateNames.map((name) => {
      const { baseMs, bytesPerMs, source } = rates[name];
      // The drain has no pace: its line is flat.
      const bytesPerSecond = bytesPerMs < Number.MAX_SAFE_INTEGER ? bytesPerMs * 1_000 : 0;
      return { name, baseMs, bytesPerSecond, source };
    }),
  };
}

async function obstaclesOf(
  node: ServedNode,
  pid: number,
  members: readonly ClientEntry[],
): Promise<string[]> {
  const run = node.runs.byRoot(pid);
  const closing = members.flatMap((member) => {
    const key = node.supervisor.executors.get(member.executorId ?? '')?.process.key;
    return key === undefined || key === null ? [] : [key.pid];
  });
  try {
    await planCpuDump({
      rootPid: pid,
      // Only looked at: a plan touches nothing.
      cgroup: new JobCgroup(run?.record?.cgroup ?? '/nonexistent'),
      keeper: run?.link ?? null,
      closing,
      leaveRunning: true,
      closeTcp: false,
    });
    return [];
  } catch (thrown) {
    if (thrown instanceof PhosError) return [thrown.message];
    throw thrown;
  }
}
