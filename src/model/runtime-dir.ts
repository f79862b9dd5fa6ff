// SPDX-License-Identifier: Apache-2.0
// Where phos keeps what it needs while it runs. Pure: the environment comes in, paths go out;
// src/phosd/folders.ts makes the folders and checks who owns them.

/** What the rules depend on. */
export interface FolderFacts {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly uid: number;
  readonly homeDir: string;
  readonly tempDir: string;
}

export interface PhosFolders {
  /** Sockets, registry and pid file: gone after a reboot. */
  readonly runtimeDir: string;
  /** Copies of the client library by content. */
  readonly stateDir: string;
  readonly logDir: string;
}

/**
 * The folders of this user.
 *
 * Runtime: PHOS_RUNTIME_DIR; else /run/phos as root; else $XDG_RUNTIME_DIR/phos; else a folder per
 * uid in the temporary directory. State: PHOS_STATE_DIR; else /var/lib/phos as root; else
 * $XDG_STATE_HOME/phos. Logs: PHOS_LOG_DIR; else /var/log/phos as root; else beside the state.
 */
export function phosFolders(facts: FolderFacts): PhosFolders {
  const { environment: env, uid } = facts;
  const stateHome = nonEmpty(env['XDG_STATE_HOME']) ?? `${facts.homeDir}/.local/state`;
  return {
    runtimeDir: nonEmpty(env['PHOS_RUNTIME_DIR']) ?? defaultRuntimeDir(facts),
    stateDir:
      nonEmpty(env['PHOS_STATE_DIR']) ?? (uid === 0 ? '/var/lib/phos' : `${stateHome}/phos`),
    logDir:
      nonEmpty(env['PHOS_LOG_DIR']) ?? (uid === 0 ? '/var/log/phos' : `${stateHome}/phos/log`),
  };
}

function defaultRuntimeDir(facts: FolderFacts): string {
  if (facts.uid === 0) return '/run/phos';
  const xdg = nonEmpty(facts.environment['XDG_RUNTIME_DIR']);
  return xdg === null ? `${facts.tempDir}/phos-${facts.uid}` : `${xdg}/phos`;
}

function nonEmpty(value: string | undefined): string | null {
  return value === undefined || value === '' ? null : value;
}

/** Names inside a runtime folder; ARCHITECTURE.md tells what each is for. */
export interface RuntimePaths {
  readonly dir: string;
  readonly controlSocket: string;
  readonly attachSocket: string;
  readonly executorsDir: string;
  readonly keepersDir: string;
  readonly reattachDir: string;
  readonly registry: string;
  readonly pidFile: string;
}

export function runtimePaths(dir: string): RuntimePaths {
  return {
    dir,
    controlSocket: `${dir}/control.sock`,
    attachSocket: `${dir}/attach.sock`,
    executorsDir: `${dir}/executors`,
    keepersDir: `${dir}/keepers`,
    reattachDir: `${dir}/reattach`,
    registry: `${dir}/registry.json`,
    pidFile: `${dir}/phosd.pid`,
  };
}

export function executorSocket(paths: RuntimePaths, executorId: string): string {
  return `${paths.executorsDir}/${executorId}.sock`;
}

export function executorRingSocket(paths: RuntimePaths, executorId: string): string {
  return `${paths.executorsDir}/${executorId}.ring.sock`;
}

export function keeperSocket(paths: RuntimePaths, keeperId: string): string {
  return `${paths.keepersDir}/${keeperId}.sock`;
}

export function reattachFile(paths: RuntimePaths, clientId: string): string {
  return `${paths.reattachDir}/${clientId}`;
}

/** The longest socket path that a runtime folder leads to; it must fit sockaddr_un. */
export function longestSocketPath(paths: RuntimePaths): string {
  return executorRingSocket(paths, 'x'.repeat(ID_LENGTH));
}

/** Executor, keeper and job ids: a letter for the kind, then eight hexadecimal digits. */
export const ID_LENGTH = 9;
