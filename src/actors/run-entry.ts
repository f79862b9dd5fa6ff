// SPDX-License-Identifier: Apache-2.0
// One `phos run` job as phosd holds it: the keeper's record, a connection that watches for the end,
// and the actor that follows it.
import { setTimeout as sleep } from 'node:timers/promises';
import { type Actor, createActor, fromPromise } from 'xstate';
import { PhosError } from '../errors/phos-error.ts';
import { JobCgroup } from '../host/cgroup.ts';
import { KeeperConnection } from '../host/keeper-connection.ts';
import { isAlive } from '../host/proc.ts';
import { runMachine } from '../machines/run.machine.ts';
import type { KeeperRecord } from '../model/domain.ts';
import { deadlines } from '../model/limits.ts';
import { keeperSocket, type RuntimePaths } from '../model/runtime-dir.ts';
import type { ProcessWatch } from './process-watch.ts';
import type { Log } from './supervisor.ts';

const CGROUP_REMOVE_MS = 5_000;

export interface RunPorts {
  readonly paths: RuntimePaths;
  readonly watch: ProcessWatch;
  readonly log: Log;
  /** Somebody in the foreground will ask the keeper for the exit status. */
  readonly attach: boolean;
}

export class RunEntry {
  readonly keeperId: string;
  readonly socketPath: string;
  readonly actor: Actor<typeof runMachine>;
  readonly #ports: RunPorts;
  #record: KeeperRecord | null;
  #link: KeeperConnection | null = null;
  #hasEnded = false;

  /**
   * @param start makes the keeper and tells its record; null for one that runs already
   * @param record of one that runs already
   */
  constructor(
    keeperId: string,
    ports: RunPorts,
    start: (() => Promise<KeeperRecord>) | null,
    record: KeeperRecord | null,
  ) {
    this.keeperId = keeperId;
    this.socketPath = keeperSocket(ports.paths, keeperId);
    this.#ports = ports;
    this.#record = record;
    const machine = runMachine.provide({
      actors: {
        startKeeper: fromPromise(async () => {
          if (start === null) throw new Error('a found keeper is not started');
          this.#record = await start();
          await this.#follow();
        }),
        findKeeper: fromPromise(async () => ({ status: await this.#find() })),
        endKeeper: fromPromise(() => this.#end()),
      },
    });
    this.actor = createActor(machine, {
      input: {
        keeperId,
        found: start === null,
        startMs: deadlines.keeperStartMs,
        endMs: deadlines.keeperEndMs,
      },
    });
  }

  get record(): KeeperRecord | null {
    return this.#record;
  }

  /** The watching connection, for jobs that need the keeper. */
  get link(): KeeperConnection | null {
    return this.#link;
  }

  // Not the keeper's own `watch`: a keeper that has told the end to anybody is free to go, and a
  // foreground phos run that has not attached yet would come too late for it.
  async #follow(): Promise<void> {
    const link = await KeeperConnection.open(this.socketPath, deadlines.keeperStartMs);
    this.#link = link;
    const root = this.#record?.root;
    if (root === undefined) throw new Error(`keeper ${this.keeperId} has no record`);
    const key = { pid: root.pid, startTime: BigInt(root.startTime) };
    this.#ports.watch.add(`run:${this.keeperId}`, key, () => void this.#rootEnded(link));
    void link.closed.then(() => {
      if (isAlive(key)) this.actor.send({ type: 'keeper.lost' });
      else void this.#rootEnded(link);
    });
  }

  async #rootEnded(link: KeeperConnection): Promise<void> {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    const { log, attach } = this.#ports;
    try {
      const exit = await this.#exitOf(link);
      log('info', 'a program ended', { keeperId: this.keeperId, ...exit });
      this.actor.send({ type: 'program.exited', status: exit });
    } catch (thrown) {
      if (!(thrown instanceof PhosError)) throw thrown;
      if (attach && thrown.code === 'UNAVAILABLE') {
        // The foreground command was told, and the keeper was free to go.
        log('info', 'a program ended', { keeperId: this.keeperId });
        this.actor.send({ type: 'program.exited', status: { code: null, signal: null } });
        return;
      }
      log('warn', 'a keeper did not tell how its program ended', {
        keeperId: this.keeperId,
        reason: thrown.message,
      });
      this.actor.send({ type: 'keeper.lost' });
    }
  }

  // The process is dead; the keeper may be about to reap it.
  async #exitOf(link: KeeperConnection): Promise<{ code: number | null; signal: number | null }> {
    for (const end = performance.now() + deadlines.exitConfirmMs; ; ) {
      const { exit } = await link.status(deadlines.keeperStartMs);
      if (exit !== null) return { code: exit.code, signal: exit.signal };
      if (performance.now() > end) {
        throw new PhosError('TIMEOUT', `keeper ${this.keeperId} does not reap its program`);
      }
      await sleep(10);
    }
  }

  async #find(): Promise<{ code: number | null; signal: number | null } | null> {
    await this.#follow();
    const status = await this.#link?.status(deadlines.keeperStartMs);
    return status?.exit ?? null;
  }

  // A foreground phos run takes the exit status from the keeper itself; one that nobody will ask
  // for is released here. The keeper then ends when the last output is out.
  async #end(): Promise<void> {
    this.#ports.watch.remove(`run:${this.keeperId}`);
    if (!this.#ports.attach) await this.#link?.release(deadlines.keeperEndMs / 3);
    const path = this.#record?.cgroup;
    if (path !== undefined && path !== null) {
      await new JobCgroup(path).remove(CGROUP_REMOVE_MS).catch((thrown: unknown) => {
        this.#ports.log('warn', 'a cgroup was left behind', { path, reason: String(thrown) });
      });
    }
    this.#link?.close();
  }

  release(): void {
    this.#link?.close();
    this.actor.stop();
  }
}
