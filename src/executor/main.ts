// SPDX-License-Identifier: Apache-2.0
// An executor process: opens its device, waits for the one client that phosd assigns to it, and
// drains that client's ring until the client is gone or phosd says exit. Detached: it lives on when
// phosd dies, and is found again through its socket.
//
//   main --id ID --runtime-dir DIR --driver sim|cuda --ordinal N [--memory-limit BYTES]
//
// Standard output is its log, a JSON object a line.
import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { z } from 'zod';
import { PhosError } from '../errors/phos-error.ts';
import { executorRingSocket, executorSocket, runtimePaths } from '../model/runtime-dir.ts';
import { type ExecutorEvent, Executor, stopAll } from '../native/native.ts';
import { DrainPool } from './drain-pool.ts';
import { ControlServer } from './server.ts';
import { ExecutorService, noticeOf } from './service.ts';

/** How long an executor whose client is gone stays, so that phosd can still ask what happened. */
const LOST_GRACE_MS = 10_000;

const argumentsSchema = z.object({
  id: z.string().min(1),
  'runtime-dir': z.string().min(1),
  driver: z.enum(['sim', 'cuda']),
  ordinal: z.coerce.number().int().nonnegative(),
  'memory-limit': z.coerce.bigint().nonnegative(),
});

function readArguments(): z.output<typeof argumentsSchema> {
  const { values } = parseArgs({
    options: {
      id: { type: 'string' },
      'runtime-dir': { type: 'string' },
      driver: { type: 'string', default: 'sim' },
      ordinal: { type: 'string', default: '0' },
      'memory-limit': { type: 'string', default: '0' },
    },
  });
  const parsed = argumentsSchema.safeParse(values);
  if (parsed.success) return parsed.data;
  throw new PhosError('USAGE', `The executor's arguments are wrong: ${parsed.error.message}`);
}

const log = pino({ base: { pid: process.pid } });

async function main(): Promise<void> {
  const args = readArguments();
  const paths = runtimePaths(args['runtime-dir']);
  process.title = `phos-executor ${args.id}`;
  // A native drain makes process.exit wait for its thread for ever.
  process.on('exit', () => stopAll());

  let onEvent: (event: ExecutorEvent) => void = () => undefined;
  const executor = new Executor(
    {
      driver: args.driver,
      ordinal: args.ordinal,
      runtimeDir: paths.dir,
      id: args.id,
      ringSocketPath: executorRingSocket(paths, args.id),
      memoryLimitBytes: args['memory-limit'],
    },
    (event) => onEvent(event),
  );
  const device = executor.start();
  log.info({ id: args.id, device: device.name, driver: device.driver }, 'executor started');

  const pool = new DrainPool();
  const drained = pool.run(executor.key);
  let leaving = false;
  const leave = (code: number): void => {
    if (leaving) return;
    leaving = true;
    executor.close();
    server.close();
    void endAfter(drained, pool, code);
  };
  const service = new ExecutorService({
    id: args.id,
    executor,
    tell: (notice) => server.tell(notice),
    // After the answer has been written.
    exit: () => setImmediate(() => leave(0)),
  });
  const server = new ControlServer(executorSocket(paths, args.id), (method, params) =>
    service.handle(method, params),
  );
  onEvent = (event) => {
    log.info(event, 'event');
    server.tell(noticeOf(event));
    if (event.type === 'client.lost') setTimeout(() => leave(0), LOST_GRACE_MS).unref();
  };
  process.on('SIGTERM', () => leave(0));
  drained.catch((thrown: unknown) => {
    log.error({ err: thrown }, 'the drain failed');
    leave(exitCodes.internal);
  });
  await server.listen();
}

/** Ends the process once the drain has come back, however it ended. */
async function endAfter(drained: Promise<unknown>, pool: DrainPool, code: number): Promise<void> {
  await Promise.allSettled([drained]);
  await pool.close();
  process.exit(code);
}

const exitCodes = { internal: 70, start: 1 } as const;

main().catch((thrown: unknown) => {
  // phosd reads the reason of the last line, and tells it to whoever waited for this executor.
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  log.fatal({ err: thrown, reason }, 'the executor did not start');
  stopAll();
  process.exit(exitCodes.start);
});
