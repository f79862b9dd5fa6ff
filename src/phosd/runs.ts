// SPDX-License-Identifier: Apache-2.0
// `phos run`: programs under keepers.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { RunEntry } from '../actors/run-entry.ts';
import { newId, type Supervisor } from '../actors/supervisor.ts';
import type { Peer } from '../control/server.ts';
import { PhosError } from '../errors/phos-error.ts';
import { createJobCgroup, JobCgroup } from '../host/cgroup.ts';
import { type KeeperJob, type RunJob, startKeeper } from '../host/keeper.ts';
import { processStartTime } from '../native/native.ts';
import type { KeeperRecord } from '../model/domain.ts';
import { deadlines, limits } from '../model/limits.ts';
import { keeperSocket, type RuntimePaths } from '../model/runtime-dir.ts';
import { groupsOf } from './access.ts';
import { installLibrary } from './library.ts';

/** Output waits this long for a foreground command to attach. */
const HOLD_MS = 10_000;
const LINGER_MS = 30_000;

export interface RunOptions {
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly umask: number;
  readonly pty: { readonly rows: number; readonly columns: number } | null;
  readonly attach: boolean;
}

export class Runs {
  readonly #supervisor: Supervisor;
  readonly #paths: RuntimePaths;
  readonly #logDir: string;
  readonly #stateDir: string;
  readonly #onChange: () => void;
  readonly entries = new Map<string, RunEntry>();

  constructor(
    supervisor: Supervisor,
    paths: RuntimePaths,
    folders: { readonly logDir: string; readonly stateDir: string },
    onChange: () => void,
  ) {
    this.#supervisor = supervisor;
    this.#paths = paths;
    this.#logDir = folders.logDir;
    this.#stateDir = folders.stateDir;
    this.#onChange = onChange;
  }

  /** What a keeper is told, for a program of this user. */
  keeperJob(
    keeperId: string,
    owner: { readonly uid: number; readonly gid: number; readonly groups: readonly number[] },
    how: Pick<RunOptions, 'pty' | 'attach'>,
  ): Omit<KeeperJob, 'cgroup'> {
    return {
      id: keeperId,
      socketPath: keeperSocket(this.#paths, keeperId),
      logOut: join(this.#logDir, `${keeperId}.out`),
      logErr: join(this.#logDir, `${keeperId}.err`),
      exitFile: '',
      uid: owner.uid,
      gid: owner.gid,
      groups: owner.groups,
      pty: how.pty,
      holdMs: how.attach ? HOLD_MS : 0,
      lingerMs: LINGER_MS,
    };
  }

  /**
   * Starts a program.
   *
   * @throws PhosError NOT_FOUND or PERMISSION when it cannot be executed, USAGE, TIMEOUT
   */
  async start(options: RunOptions, caller: Peer): Promise<RunEntry> {
    const size = [...options.argv, ...Object.entries(options.environment).flat()].reduce(
      (sum, text) => sum + text.length,
      0,
    );
    if (options.argv.length === 0) throw new PhosError('USAGE', 'there is no program to run');
    if (size > limits.maxRunBytes) {
      throw new PhosError('USAGE', `arguments and environment pass ${limits.maxRunBytes} bytes`);
    }
    const library = installLibrary(this.#stateDir);
    const keeperId = newId('keeper');
    const owner = { uid: caller.uid, gid: caller.gid, groups: groupsOf(caller.pid) };
    const cgroup = this.#cgroupFor(keeperId);
    const job: RunJob = {
      ...this.keeperJob(keeperId, owner, options),
      cgroup,
      argv: options.argv,
      cwd: options.cwd,
      umask: options.umask,
      environment: programEnvironment(options.environment, library, this.#paths.dir),
    };
    const entry = this.#add(
      new RunEntry(
        keeperId,
        this.#ports(options.attach),
        async () => {
          const started = await startKeeper(job, deadlines.keeperStartMs);
          return {
            keeperId,
            process: identity(started.keeperPid, processStartTime(started.keeperPid)),
            root: identity(started.pid, started.startTime),
            ...owner,
            stdio: options.pty === null ? 'pipes' : 'pty',
            argv: [...options.argv],
            cwd: options.cwd,
            cgroup,
            library,
          };
        },
        null,
      ),
    );
    await started(entry);
    return entry;
  }

  // Without a cgroup a program runs all the same; only dumps need one, and say what is missing.
  #cgroupFor(keeperId: string): string | null {
    try {
      return createJobCgroup(keeperId).path;
    } catch (thrown) {
      if (!(thrown instanceof PhosError)) throw thrown;
      this.#supervisor.log('warn', 'a job runs without a cgroup of its own', {
        keeperId,
        reason: thrown.message,
      });
      return null;
    }
  }

  #ports(attach: boolean) {
    const { watch, log } = this.#supervisor;
    return { paths: this.#paths, watch, log, attach };
  }

  /** Follows a keeper that runs already: found again, or made by a restore. */
  adopt(record: KeeperRecord, attach: boolean): RunEntry {
    return this.#add(new RunEntry(record.keeperId, this.#ports(attach), null, record));
  }

  #add(entry: RunEntry): RunEntry {
    this.entries.set(entry.keeperId, entry);
    entry.actor.subscribe({
      next: (snapshot) => {
        if (snapshot.status === 'done') {
          this.entries.delete(entry.keeperId);
          const { failure } = snapshot.context;
          if (failure !== null) {
            this.#supervisor.log('warn', 'a run job ended badly', {
              keeperId: entry.keeperId,
              failure,
            });
          }
        }
        this.#onChange();
      },
    });
    entry.actor.start();
    return entry;
  }

  /** The job whose program is this process, or null. */
  byRoot(pid: number): RunEntry | null {
    for (const entry of this.entries.values()) {
      if (entry.record?.root.pid === pid) return entry;
    }
    return null;
  }

  /** Ends every program and waits for it. */
  async endAll(deadlineMs: number): Promise<void> {
    await Promise.all(
      [...this.entries.values()].map(async (entry) => {
        const record = entry.record;
        if (record === null) return;
        if (record.cgroup !== null && existsSync(record.cgroup)) {
          await new JobCgroup(record.cgroup).kill(deadlineMs);
        } else {
          await entry.link?.signal(9, deadlineMs);
        }
      }),
    );
  }

  release(): void {
    for (const entry of this.entries.values()) entry.release();
  }
}

function identity(pid: number, startTime: bigint): { pid: number; startTime: string } {
  return { pid, startTime: startTime.toString() };
}

/** Resolves when the program runs. @throws PhosError why it does not */
function started(entry: RunEntry): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      const { value, context } = entry.actor.getSnapshot();
      if (value === 'starting') return;
      if (context.failure === null) resolve();
      else {
        reject(new PhosError(context.failure.code, context.failure.message));
      }
    };
    entry.actor.subscribe({ next: look });
    look();
  });
}

/** The program finds our libcuda before any other, however it looks for it. */
export function programEnvironment(
  environment: Readonly<Record<string, string>>,
  library: string,
  runtimeDir: string,
): Record<string, string> {
  const front = (name: string, value: string, separator: string) => {
    const old = environment[name];
    return old === undefined || old === '' ? value : `${value}${separator}${old}`;
  };
  return {
    ...environment,
    LD_PRELOAD: front('LD_PRELOAD', `${library}/libcuda.so.1`, ' '),
    LD_LIBRARY_PATH: front('LD_LIBRARY_PATH', library, ':'),
    PHOS_RUNTIME_DIR: runtimeDir,
  };
}
