// SPDX-License-Identifier: Apache-2.0
// Finds in CRIU's log what went wrong. CRIU reports the cause first and its consequences after it,
// so the first line that a rule knows decides; the first error line is quoted in any case.
import { readFileSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { type ErrorCode, PhosError } from '../errors/phos-error.ts';
import { errnoOf } from './wait.ts';

interface Rule {
  readonly pattern: RegExp;
  readonly code: ErrorCode;
  readonly cure: string;
}

// Messages of CRIU 4.1. Order matters only between rules that match the same line.
const rules: readonly Rule[] = [
  {
    pattern: /No space left on device|Disk quota exceeded|Input\/output error|errno 28\b/i,
    code: 'STORAGE',
    cure: 'free space or choose another folder for the image',
  },
  {
    pattern:
      /Read \d+ bytes while \d+|Magic doesn't match|Unexpected EOF|corrupted|unpack.*failed/i,
    code: 'IMAGE_INVALID',
    cure: 'the CPU side of the image is damaged; see phos image verify',
  },
  {
    pattern: /has bad (size|mode)|has changed.*size/i,
    code: 'CONFLICT',
    cure: 'a file changed since the dump; put it back as it was',
  },
  {
    pattern: /Pid \d+ (is )?(already|busy)|Can't fork for \d+.*File exists|pid.*File exists/i,
    code: 'CONFLICT',
    cure: 'a process of the image still has its pid; wait until the original has ended',
  },
  {
    // Kernel 6.16 refuses an option of internet sockets that CRIU 4.1 asks for (SO_PASSCRED).
    pattern: /Can't get 1:16 opt/,
    code: 'UNSUPPORTED',
    cure: 'this CRIU cannot save network sockets on this kernel; close them, or use a newer CRIU',
  },
  {
    pattern: /Connected TCP socket|TCP.*consider using --tcp-established/i,
    code: 'UNSUPPORTED',
    cure: 'the program has an open TCP connection; close it first',
  },
  {
    pattern: /external socket is used|ext-unix-sk|Unix socket.*(external|without peer)/i,
    code: 'UNSUPPORTED',
    cure: 'a socket leads to a process outside the tree; close it first',
  },
  {
    pattern: /dangling tty|--shell-job|is not (a )?session leader|tty.*external/i,
    code: 'UNSUPPORTED',
    cure: 'a terminal leads out of the tree; start the program with phos run',
  },
  {
    pattern: /io_uring|perf_event|unsupported (file|fd|socket)|Can't dump (a )?(socket|file)/i,
    code: 'UNSUPPORTED',
    cure: 'the program has something open that CRIU cannot save',
  },
  {
    pattern: /Can't (open|stat|lookup).*No such file|No such file or directory/i,
    code: 'NOT_FOUND',
    cure: 'a file that the program had open or mapped is gone; put it back',
  },
  {
    pattern: /Permission denied|Operation not permitted|capabilit/i,
    code: 'PERMISSION',
    cure: 'start phosd as root',
  },
  {
    pattern: /build.?id|vdso|CPU|FPU|xsave/i,
    code: 'UNSUPPORTED',
    cure: 'the image comes from a machine with another processor or other libraries',
  },
];

// CRIU asks for more than it needs and says so as an error, but goes on.
const noise = /Can't setup RLIMIT_NOFILE/;

/** Error lines of a log, without their times and numbers. */
export function errorLines(log: string): string[] {
  return log.split('\n').flatMap((line) => {
    const found = /\bError \([^)]*\):\s*(.*)$/.exec(line)?.[1]?.trim();
    return found && !noise.test(found) ? [found] : [];
  });
}

/** What the log's text means. Exported for its test. */
export function explainLines(
  lines: readonly string[],
  step: 'dump' | 'restore',
  how: string,
  logPath: string,
): PhosError {
  const details = { step: `cpu-${step}`, log: logPath, criu: lines.slice(0, 8) };
  for (const line of lines) {
    const rule = rules.find(({ pattern }) => pattern.test(line));
    if (rule === undefined) continue;
    const message = `CRIU could not ${step} the processes: ${line}; ${rule.cure} (log: ${logPath})`;
    return new PhosError(rule.code, message, { details });
  }
  const first = lines[0] ?? `it ended with ${how} and said nothing`;
  return new PhosError(
    'INTERNAL',
    `CRIU could not ${step} the processes: ${first} (log: ${logPath})`,
    { details },
  );
}

/** A disk with less than this free was full for CRIU: it removes nothing that it has written. */
const FULL_BYTES = 65_536;

/** The error that a log accounts for; `how` is what is known without it. */
export function explainCriuLog(path: string, step: 'dump' | 'restore', how: string): PhosError {
  const error = explainLines(errorLines(readLog(path)), step, how, path);
  if (step === 'restore' || error.code === 'STORAGE') return error;
  // The log of a dump lies beside what is dumped: on a full disk it ends before the reason.
  const { bavail, bsize } = statfsSync(dirname(path));
  if (bavail * bsize >= FULL_BYTES) return error;
  return new PhosError(
    'STORAGE',
    `CRIU could not dump the processes: the disk of ${dirname(path)} is full; ` +
      'free space or choose another folder for the image',
    { cause: error, details: error.details },
  );
}

function readLog(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (thrown) {
    // No log at all: CRIU failed before it could open it. Its ending is all there is to tell.
    if (errnoOf(thrown) === null) throw thrown;
    return '';
  }
}
