// SPDX-License-Identifier: Apache-2.0
// A cgroup (version 2) for each job. Its freezer stops the whole tree at once and invisibly: a
// SIGSTOP would be seen by the program and would be restored with it.
import { accessSync, constants, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PhosError } from '../errors/phos-error.ts';
import { codeOfErrno, errnoOf, waitUntil } from './wait.ts';

const FOLDER = 'phos-jobs';
const cure =
  'phos needs a writable cgroup2 file system (mount -t cgroup2 none /sys/fs/cgroup, or ' +
  'run the container with its cgroup writable)';

/** Where cgroup2 is mounted, in /proc/self/mountinfo's order: it may lie beside version 1. */
export function cgroup2Mounts(mountInfo = readFileSync('/proc/self/mountinfo', 'utf8')): string[] {
  return mountInfo.split('\n').flatMap((line) => {
    const [before, after] = line.split(' - ');
    if (after?.split(' ')[0] !== 'cgroup2') return [];
    // Field 5 is the mount point, with blanks and the like written in octal.
    const point = before?.split(' ')[4] ?? '';
    return [
      point.replace(/\\([0-7]{3})/g, (_, digits: string) =>
        String.fromCharCode(parseInt(digits, 8)),
      ),
    ];
  });
}

/**
 * Makes the cgroup of a job.
 *
 * @param id job or keeper id, the name of the folder
 * @throws PhosError UNSUPPORTED when no cgroup2 is mounted, PERMISSION when none may be written
 */
export function createJobCgroup(id: string): JobCgroup {
  const mounts = cgroup2Mounts();
  if (mounts.length === 0) throw new PhosError('UNSUPPORTED', `no cgroup2 is mounted; ${cure}`);
  const failures: string[] = [];
  for (const mount of mounts) {
    const path = join(mount, FOLDER, id);
    try {
      mkdirSync(path, { recursive: true });
      accessSync(join(path, 'cgroup.freeze'), constants.W_OK);
      return new JobCgroup(path);
    } catch (thrown) {
      failures.push(`${path}: ${errnoOf(thrown) ?? String(thrown)}`);
    }
  }
  throw new PhosError('PERMISSION', `no cgroup could be made (${failures.join(', ')}); ${cure}`);
}

/** One job's cgroup, named by its folder, which the registry and the keeper know too. */
export class JobCgroup {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** Pids in it now; none when it is gone, which it is once its keeper has ended. */
  members(): number[] {
    const text = unlessGone(() => this.#read('cgroup.procs')) ?? '';
    return text.split('\n').filter(Boolean).map(Number);
  }

  isFrozen(): boolean {
    return /^frozen 1$/m.test(this.#read('cgroup.events'));
  }

  /**
   * Moves running processes here: a program that phos did not start itself.
   *
   * @throws PhosError NOT_FOUND when one has ended, PERMISSION
   */
  adopt(pids: readonly number[]): void {
    for (const pid of pids) this.#write('cgroup.procs', String(pid));
  }

  /**
   * Stops every process in it.
   *
   * @throws PhosError TIMEOUT when one does not stop (it sleeps in the kernel); thawed again then
   */
  async freeze(deadlineMs: number): Promise<void> {
    this.#write('cgroup.freeze', '1');
    try {
      await waitUntil(
        () => this.isFrozen(),
        deadlineMs,
        `the processes in ${this.path} could not be frozen (one sleeps in the kernel)`,
      );
    } catch (thrown) {
      this.#write('cgroup.freeze', '0');
      throw thrown;
    }
  }

  /** Lets every process in it go on. Nothing happens when none is frozen. */
  async thaw(deadlineMs: number): Promise<void> {
    unlessGone(() => this.#write('cgroup.freeze', '0'));
    await waitUntil(
      () => unlessGone(() => this.isFrozen()) !== true,
      deadlineMs,
      `the processes in ${this.path} were not thawed`,
    );
  }

  /** Kills every process in it, frozen or not, and waits until none is left alive in it. */
  async kill(deadlineMs: number): Promise<void> {
    // Kernels before 5.14 have no cgroup.kill: each process by its pid, until none comes after.
    unlessGone(() => this.#write('cgroup.kill', '1'));
    await waitUntil(
      () => {
        const left = this.members();
        for (const pid of left) killQuietly(pid);
        return left.length === 0;
      },
      deadlineMs,
      `the processes in ${this.path} did not end`,
    );
  }

  /** Removes it; a cgroup that is already gone is fine. @throws PhosError TIMEOUT while in use */
  async remove(deadlineMs: number): Promise<void> {
    await waitUntil(
      () => {
        try {
          rmdirSync(this.path);
          return true;
        } catch (thrown) {
          const errno = errnoOf(thrown);
          if (errno === 'ENOENT') return true;
          // The last process leaves a moment after it was reaped.
          if (errno === 'EBUSY') return false;
          throw this.#problem('removing it', thrown);
        }
      },
      deadlineMs,
      `${this.path} still holds processes and could not be removed`,
    );
  }

  #read(name: string): string {
    try {
      return readFileSync(join(this.path, name), 'utf8');
    } catch (thrown) {
      throw this.#problem(`reading ${name}`, thrown);
    }
  }

  #write(name: string, value: string): void {
    try {
      writeFileSync(join(this.path, name), value, { flag: 'r+' });
    } catch (thrown) {
      throw this.#problem(`writing ${value} to ${name}`, thrown);
    }
  }

  #problem(doing: string, thrown: unknown): PhosError {
    const errno = errnoOf(thrown);
    return new PhosError(
      codeOfErrno(errno),
      `cgroup ${this.path}: ${doing} failed (${errno}); ${cure}`,
      { cause: thrown, details: { cgroup: this.path } },
    );
  }
}

/** What `action` gives, null when the cgroup (or this file of it) does not exist. */
function unlessGone<T>(action: () => T): T | null {
  try {
    return action();
  } catch (thrown) {
    if (thrown instanceof PhosError && thrown.code === 'NOT_FOUND') return null;
    throw thrown;
  }
}

/** SIGKILL to a pid that may be gone already. */
function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (thrown) {
    if (errnoOf(thrown) !== 'ESRCH') throw thrown;
  }
}
