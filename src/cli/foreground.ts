// SPDX-License-Identifier: Apache-2.0
// Being the terminal of a program under a keeper: input, output, signals and window sizes go both
// ways, and the command ends as the program does. phosd has no part in it and may come and go.
import { spawnSync } from 'node:child_process';
import { constants } from 'node:os';
import { PhosError } from '../errors/phos-error.ts';
import { RUN_FAILED } from '../errors/exit-code.ts';
import { KeeperConnection, type OutputSink } from '../host/keeper-connection.ts';
import type { Output } from './output.ts';

const ASK_MS = 10_000;
const forwarded = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const;

export interface WindowSize {
  readonly rows: number;
  readonly columns: number;
}

/** Size of this terminal; null when the command is not on one. */
export function terminalSize(): WindowSize | null {
  if (!process.stdin.isTTY || !process.stdout.isTTY) return null;
  return { rows: process.stdout.rows, columns: process.stdout.columns };
}

/**
 * Attaches and stays until the program has ended.
 *
 * @returns the exit code of this command: the program's, 128+n after signal n, 125 when the keeper
 *   went away without telling
 */
export async function follow(
  socketPath: string,
  size: WindowSize | null,
  output: Output,
): Promise<number> {
  const keeper = await KeeperConnection.open(socketPath, ASK_MS);
  const restoreTerminal = forwardSignals(keeper, size !== null);
  try {
    await keeper.attach(sinkFor(keeper), size, ASK_MS);
    void forwardInput(keeper);
    const exit = await keeper.exited;
    restoreTerminal();
    if (exit.note !== '') output.note(`the program was ended: ${exit.note}`);
    return exit.code ?? 128 + (exit.signal ?? 0);
  } catch (thrown) {
    restoreTerminal();
    output.failure(thrown);
    return RUN_FAILED;
  } finally {
    keeper.close();
  }
}

function sinkFor(keeper: KeeperConnection): OutputSink {
  return {
    stdout: (data) => write(process.stdout, data, keeper),
    stderr: (data) => write(process.stderr, data, keeper),
  };
}

/** Resolves when the terminal has taken the bytes. */
function write(stream: NodeJS.WriteStream, data: Buffer, keeper: KeeperConnection): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(data, (error) => {
      if (error === null || error === undefined) {
        resolve();
      } else if ((error as NodeJS.ErrnoException).code === 'EPIPE') {
        // Nobody reads any more: the program hears of it as it would without phos.
        resolve(signalQuietly(keeper, constants.signals.SIGPIPE));
      } else {
        reject(error);
      }
    });
  });
}

async function signalQuietly(keeper: KeeperConnection, number: number): Promise<void> {
  try {
    await keeper.signal(number, ASK_MS);
  } catch (thrown) {
    // The program ended at the same moment; its end is told on its own.
    if (!(thrown instanceof PhosError)) throw thrown;
  }
}

async function forwardInput(keeper: KeeperConnection): Promise<void> {
  try {
    for await (const data of process.stdin) await keeper.writeInput(data as Buffer);
    keeper.endInput();
  } catch (thrown) {
    // The program or its keeper ended first.
    if (!(thrown instanceof PhosError)) throw thrown;
  }
}

/**
 * Raw mode as Node sets it still turns line feeds into carriage return and line feed. The program's
 * own terminal has done that where the program wanted it; a full-screen program does not want it.
 * setRawMode(false) puts everything back.
 */
function leaveOutputAlone(): void {
  // Without stty lines end in two carriage returns, which a terminal does not show.
  spawnSync('stty', ['-opost'], { stdio: ['inherit', 'ignore', 'ignore'] });
}

/** @returns how to undo it; once is enough */
function forwardSignals(keeper: KeeperConnection, isTerminal: boolean): () => void {
  const handlers = forwarded.map((name) => {
    const handler = (): void => void signalQuietly(keeper, constants.signals[name]);
    process.on(name, handler);
    return [name, handler] as const;
  });
  const resize = (): void => {
    const size = terminalSize();
    if (size !== null) keeper.resize(size);
  };
  // Errors of a closed pipe are answered where they happen.
  const ignore = (): void => undefined;
  process.stdout.on('error', ignore);
  process.stderr.on('error', ignore);
  if (isTerminal) {
    process.stdin.setRawMode(true);
    leaveOutputAlone();
    process.on('SIGWINCH', resize);
  }
  let undone = false;
  return () => {
    if (undone) return;
    undone = true;
    for (const [name, handler] of handlers) process.off(name, handler);
    if (!isTerminal) return;
    // What was set before the first raw mode, output processing included.
    process.stdin.setRawMode(false);
    process.off('SIGWINCH', resize);
  };
}
