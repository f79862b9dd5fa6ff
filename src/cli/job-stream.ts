// SPDX-License-Identifier: Apache-2.0
// A job as the command that asked for it sees it: progress while it runs, its result at the end,
// and a Ctrl-C that asks it to take everything back and waits until it has.
import { PhosError } from '../errors/phos-error.ts';
import type { JobEvent, JobResult } from '../gen/proto/phos/v1/control_pb.ts';
import { ASK_MS, client } from './context.ts';
import { Progress } from './progress.ts';

const signals = ['SIGINT', 'SIGTERM'] as const;

/**
 * Follows a job to its end.
 *
 * @param begin calls phosd; the signal cuts the connection
 * @throws PhosError why the job failed; CANCELLED, with the signal, after a Ctrl-C
 */
export async function followJob(
  begin: (signal: AbortSignal) => AsyncIterable<JobEvent>,
  quiet: boolean,
): Promise<JobResult> {
  const progress = new Progress(quiet);
  const cut = new AbortController();
  let jobId: string | null = null;
  let asked: string | null = null;
  const onSignal = (name: string): void => {
    if (asked !== null) {
      // Asked twice: phosd takes the job back on its own when the connection is gone.
      cut.abort();
      return;
    }
    asked = name;
    process.stderr.write('\nphos: taking the job back; once more to leave that to phosd\n');
    if (jobId !== null) void cancel(jobId);
  };
  for (const name of signals) process.on(name, onSignal);
  try {
    for await (const { event } of begin(cut.signal)) {
      switch (event.case) {
        case 'started':
          jobId = event.value.jobId;
          if (asked !== null) void cancel(jobId);
          break;
        case 'stage':
          progress.stage(event.value.stage);
          break;
        case 'progress':
          progress.progress(event.value.stage, event.value.doneBytes, event.value.totalBytes);
          break;
        case 'result':
          progress.stage(null);
          return event.value;
        case undefined:
          // An event of a newer phosd.
          break;
      }
    }
    throw new PhosError('TRANSPORT', 'phosd ended the job without a result; see its log');
  } catch (thrown) {
    progress.stage(null);
    throw cancelledBy(thrown, asked);
  } finally {
    for (const name of signals) process.off(name, onSignal);
  }
}

function cancelledBy(thrown: unknown, signal: string | null): unknown {
  if (signal === null || !(thrown instanceof PhosError) || thrown.code !== 'CANCELLED')
    return thrown;
  const details = { ...thrown.details, signal };
  return new PhosError('CANCELLED', thrown.message, { cause: thrown, details });
}

async function cancel(jobId: string): Promise<void> {
  try {
    await client().cancelJob({ jobId }, { timeoutMs: ASK_MS });
  } catch (thrown) {
    const error = PhosError.from(thrown, 'cancelling the job');
    // It ended at the same moment; its own result says how.
    if (error.code !== 'NOT_FOUND') process.stderr.write(`phos: ${error.message}\n`);
  }
}
