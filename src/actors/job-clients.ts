// SPDX-License-Identifier: Apache-2.0
// The steps that jobs take on the clients of a tree, each on all of them at once: gates, cuts,
// drains, saving and loading, letting agents go and waiting for them to be back.
import { closeSync, openSync, rmSync } from 'node:fs';
import { PhosError } from '../errors/phos-error.ts';
import type { ExecutorNotice, MethodName, MethodResult } from '../executor/protocol.ts';
import type { Cuts, DrainOutcome } from '../machines/dump-parts.ts';
import { deadlines } from '../model/limits.ts';
import { reattachFile, type RuntimePaths } from '../model/runtime-dir.ts';
import type { ClientEntry } from './client-entry.ts';
import { onAll, waitFor } from './effects.ts';
import type { ExecutorProcess } from './executor-process.ts';
import type { JobRecord } from './job-record.ts';
import type { Supervisor } from './supervisor.ts';

/** Methods that tell how far they are. */
type LongMethod = Extract<
  MethodName,
  'save.prepare' | 'save.begin' | 'save.finish' | 'load' | 'suspend' | 'resume'
>;

export class JobClients {
  readonly #supervisor: Supervisor;
  readonly #paths: RuntimePaths;
  readonly #record: JobRecord;
  /** In tree order: the order of gpu-K. */
  members: readonly ClientEntry[] = [];

  constructor(supervisor: Supervisor, paths: RuntimePaths, record: JobRecord) {
    this.#supervisor = supervisor;
    this.#paths = paths;
    this.#record = record;
  }

  get ids(): readonly string[] {
    return this.members.map((member) => member.facts.clientId);
  }

  /** Pids of the executors: unix sockets may lead there until the agents have let go. */
  get executorPids(): readonly number[] {
    return this.members.flatMap((member) => {
      const key = this.find(member)?.key;
      return key === undefined || key === null ? [] : [key.pid];
    });
  }

  find(member: ClientEntry): ExecutorProcess | null {
    const id = member.executorId;
    return id === null ? null : (this.#supervisor.executors.get(id)?.process ?? null);
  }

  /** @throws PhosError NOT_FOUND when it is gone */
  executor(member: ClientEntry): ExecutorProcess {
    const executor = this.find(member);
    if (executor !== null) return executor;
    throw new PhosError(
      'NOT_FOUND',
      `the executor of process ${member.pid} is gone; the program has lost its device`,
    );
  }

  /** Members whose program still lives: the way back leaves the dead alone. */
  get living(): readonly ClientEntry[] {
    return this.members.filter(
      (member) =>
        this.#supervisor.clients.get(member.facts.clientId) === member &&
        this.find(member) !== null,
    );
  }

  /** @throws PhosError CONFLICT or NOT_FOUND unless every member runs */
  requireRunning(verb: string): void {
    for (const member of this.members) {
      const { state } = member;
      if (state === 'running') continue;
      const why =
        state === 'suspended'
          ? `is suspended; resume it with phos resume ${member.pid} first`
          : `is ${state}; see phos ps`;
      throw new PhosError(
        state === 'lost' || state === 'exited' ? 'NOT_FOUND' : 'CONFLICT',
        `process ${member.pid} cannot be ${verb}: it ${why}`,
      );
    }
  }

  /** @throws PhosError UNSUPPORTED naming what a client holds that cannot be saved */
  async requireSaveable(): Promise<void> {
    await onAll(this.members, async (member) => {
      const { objects } = await this.executor(member).request(
        'explain',
        {},
        deadlines.executorRequestMs,
      );
      const named = objects.filter((object) => object.unsaveable !== null).slice(0, 5);
      if (named.length === 0) return;
      const list = named.map(
        (object) => `${object.type} of ${object.createdBy}: ${object.unsaveable}`,
      );
      throw new PhosError(
        'UNSUPPORTED',
        `process ${member.pid} holds what cannot be saved (${list.join('; ')}); see phos explain`,
      );
    });
  }

  /** Closes every gate, then reads every head: one cut over all. */
  async closeGates(): Promise<Cuts> {
    this.#record.gatesClosing();
    await onAll(this.members, (member) =>
      this.executor(member).request('gate.close', {}, deadlines.gateMs),
    );
    const heads = await onAll(this.members, async (member) => {
      const { head } = await this.executor(member).request('ring.head', {}, deadlines.gateMs);
      return [member.facts.clientId, head.toString()] as const;
    });
    return Object.fromEntries(heads);
  }

  /** @returns how long the gates were closed, in milliseconds */
  async openGates(): Promise<{ readonly heldMs: number }> {
    await onAll(this.living, (member) =>
      this.executor(member).request('gate.open', {}, deadlines.gateMs),
    );
    return { heldMs: this.#record.gatesOpen() };
  }

  /** Time that threads of the tree have waited at gates since their rings were made, in ns. */
  async gateWaitNs(): Promise<bigint> {
    const all = await onAll(this.living, (member) =>
      this.executor(member).request('status', {}, deadlines.executorRequestMs),
    );
    return all.reduce((sum, one) => sum + one.gateWaitNs, 0n);
  }

  async drainTo(cuts: Cuts, drainMs: number): Promise<DrainOutcome> {
    const begun = performance.now();
    const outcomes = await onAll(this.members, (member) => {
      const cut = cuts[member.facts.clientId];
      if (cut === undefined) throw new Error(`no cut for client ${member.facts.clientId}`);
      return this.executor(member).request(
        'drain.to',
        { cut: BigInt(cut), deadlineMs: drainMs },
        drainMs + deadlines.marginMs,
      );
    });
    this.#record.drainMs = performance.now() - begun;
    const late = outcomes.filter((outcome) => !outcome.reached);
    return {
      reached: late.length === 0,
      waitingFor: late.flatMap((outcome) => outcome.waitingFor ?? []).join(', ') || null,
    };
  }

  /** Has every agent close its socket; each is away until it says hello again. */
  async disconnect(): Promise<void> {
    await onAll(this.members, async (member) => {
      await this.executor(member).request(
        'agent.disconnect',
        { deadlineMs: deadlines.disconnectMs },
        deadlines.disconnectMs + deadlines.marginMs,
      );
      const { clientId } = member.facts;
      this.#supervisor.post.tell({ to: 'client', clientId, event: { type: 'agent.away' } });
    });
  }

  /**
   * Lets every agent attach again and waits until it has handed its ring over. One whose program
   * ends meanwhile does not keep the others out.
   *
   * @throws PhosError NOT_FOUND, when the others are back, if the program of one has ended
   */
  async reattach(signal: AbortSignal): Promise<void> {
    const waiting = this.living;
    for (const member of waiting) {
      closeSync(openSync(reattachFile(this.#paths, member.facts.clientId), 'w', 0o644));
    }
    try {
      const isGone = (member: ClientEntry) =>
        member.state === 'lost' || !this.living.includes(member);
      const isBack = (member: ClientEntry) =>
        member.state === 'running' || member.state === 'suspended';
      await waitFor(
        () => waiting.every((member) => isGone(member) || isBack(member)),
        (changed) => this.#supervisor.observe(changed),
        signal,
      );
      const ended = waiting.find(isGone);
      if (ended !== undefined) {
        throw new PhosError('NOT_FOUND', `process ${ended.pid} ended before it was back`);
      }
    } finally {
      for (const member of waiting) {
        rmSync(reattachFile(this.#paths, member.facts.clientId), { force: true });
      }
    }
  }

  /** Runs a long method on every member, with progress added up. */
  async long<M extends LongMethod>(
    method: M,
    paramsOf: (member: ClientEntry, index: number) => Parameters<typeof request<M>>[2],
    deadlineMs: number,
    stage: string,
    on: readonly ClientEntry[] = this.members,
  ): Promise<MethodResult<M>[]> {
    return onAll(on, async (member, index) => {
      const executor = this.executor(member);
      const stop = executor.onNotice((notice) => this.#progress(method, stage, member, notice));
      try {
        return await request(executor, method, paramsOf(member, index), deadlineMs);
      } finally {
        stop();
      }
    });
  }

  #progress(method: LongMethod, stage: string, member: ClientEntry, notice: ExecutorNotice): void {
    if (notice.event !== 'progress' || notice.params.method !== method) return;
    const { doneBytes, totalBytes } = notice.params;
    this.#record.progress(member.facts.clientId, doneBytes, totalBytes, stage);
  }

  /** Asks every member that still lives, and whose executor does. */
  async everyLiving(method: 'save.abort', deadlineMs: number): Promise<void> {
    await onAll(this.living, (member) => this.executor(member).request(method, {}, deadlineMs));
  }
}

function request<M extends MethodName>(
  executor: ExecutorProcess,
  method: M,
  params: Parameters<typeof executor.request<M>>[1],
  deadlineMs: number,
): Promise<MethodResult<M>> {
  return executor.request(method, params, deadlineMs);
}
