// SPDX-License-Identifier: Apache-2.0
// The control protocol of an executor (executors/ID.sock), for both of its ends.
//
// JSON lines over a unix socket. Request `{id, method, params}`; answer `{id, result}` or
// `{id, error}`; events `{event, params}` go to every connection. Byte counts, addresses and ring
// positions are decimal strings on the wire and bigint on either side. Every executor accepts any
// number of connections, so that a restarted phosd, doctor and a test may all ask.
import { z } from 'zod';

/** Longest line that either end accepts. */
export const MAX_LINE_BYTES = 4 << 20;

const decimal = z.string().regex(/^\d{1,20}$/);
/** A non-negative 64-bit integer as a decimal string. */
export const bigintString = z.codec(decimal, z.bigint().nonnegative(), {
  decode: (text) => BigInt(text),
  encode: (value) => value.toString(),
});

const hex32 = z.string().regex(/^[0-9a-f]{32}$/);
/** Key of an encrypted image; null: it is not encrypted. */
const imageKey = z
  .string()
  .regex(/^[0-9a-f]{64}$/)
  .nullable();
const path = z.string().min(1).max(4096);
/** How the writer does it; what is absent is off. */
const imageWriting = {
  /** Level of zstd; absent or 0: chunks are stored as they are. */
  compress: z.number().int().min(0).max(19).optional(),
  content: z.boolean().optional(),
  share: z.boolean().optional(),
  donors: z.array(path).max(64).optional(),
  key: imageKey.optional(),
};
const deadlineMs = z.number().int().positive().max(86_400_000);
const environment = z.record(z.string(), z.string());
const count = z.number().int().nonnegative();
const none = z.strictObject({});

export const deviceFacts = z.object({
  driver: z.enum(['sim', 'cuda']),
  ordinal: count,
  name: z.string(),
  uuid: hex32,
  driverVersion: count,
  computeMajor: count,
  computeMinor: count,
  totalBytes: bigintString,
});

const executorState = z.enum([
  'created',
  'ready',
  'expecting',
  'attached',
  'disconnected',
  'suspended',
  'lost',
  'closed',
]);

export const executorStatus = z.object({
  id: z.string(),
  pid: count,
  /** Clock ticks since boot at which this process started: pid and this name it for good. */
  startTime: bigintString,
  state: executorState,
  device: deviceFacts.nullable(),
  clientId: hex32.nullable(),
  clientPid: count.nullable(),
  commands: bigintString,
  syncCommands: bigintString,
  deferredErrors: bigintString,
  lastDeferredError: z.string().nullable(),
  head: bigintString,
  tail: bigintString,
  gateClosed: z.boolean(),
  deviceBytesUsed: bigintString,
  deviceBytesReserved: bigintString,
  arenaBytes: bigintString,
  objects: count,
  pendingWaits: count,
  parkedCommands: count,
  contextError: count,
  unsupportedCalls: z.array(z.string()),
  gateWaits: bigintString,
  gateWaitNs: bigintString,
});

const objectSummary = z.object({
  type: z.string(),
  handle: bigintString,
  bytes: bigintString,
  createdBy: z.string(),
  unsaveable: z.string().nullable(),
});

const imageFile = z.object({
  name: z.string(),
  bytes: bigintString,
  xxh3: hex32.nullable(),
});

const milliseconds = z.number().nonnegative();

const saveMode = z.enum(['stop', 'snapshot', 'cow', 'auto']);
const chosenMode = z.enum(['stop', 'snapshot', 'cow']);
const holdFigures = {
  gpuHoldNs: bigintString,
  gpuWaitNs: bigintString,
  driverCalls: count,
  streamsHeld: count,
};

const saveBegun = z.object({
  cut: bigintString,
  mode: chosenMode,
  gateMayOpen: z.boolean(),
  gateOpened: z.boolean(),
  objects: count,
  deviceBytes: bigintString,
  copiedBytes: bigintString,
  hashedBytes: bigintString,
  ...holdFigures,
});

const saveResult = z.object({
  cut: bigintString,
  objects: count,
  chunks: count,
  zeroChunks: count,
  parentChunks: count,
  movedBytes: bigintString,
  sharedChunks: count,
  deviceBytes: bigintString,
  writtenBytes: bigintString,
  files: z.array(imageFile),
  objectsMs: milliseconds,
  copyMs: milliseconds,
  syncMs: milliseconds,
  mode: chosenMode,
  copiedBytes: bigintString,
  hashedBytes: bigintString,
  asideChunks: count,
  heldBack: count,
  validationMissed: z.object({ chunks: count, kernels: z.array(z.string()) }).nullable(),
  ...holdFigures,
});

const loadResult = z.object({
  cut: bigintString,
  clientId: hex32,
  objects: count,
  chunks: count,
  deviceBytes: bigintString,
  readBytes: bigintString,
  verifyMs: milliseconds,
  objectsMs: milliseconds,
  copyMs: milliseconds,
});

const suspendResult = z.object({
  deviceBytes: bigintString,
  hostBytes: bigintString,
  durationMs: milliseconds,
});

/** Every method: what it takes and what it answers. */
export const methods = {
  status: { params: none, result: executorStatus },
  /** Drops privileges to the client's, then waits for its ring. Once in an executor's life. */
  assign: {
    params: z.strictObject({
      clientId: hex32,
      token: hex32,
      pid: count,
      uid: count,
      gid: count,
      environment,
    }),
    result: none,
  },
  /** The same client comes again (after a dump that goes on, or a restore): a fresh token. */
  expect: {
    params: z.strictObject({ clientId: hex32, token: hex32, pid: count, environment }),
    result: none,
  },
  'gate.close': { params: none, result: none },
  'gate.open': { params: none, result: none },
  'ring.head': { params: none, result: z.object({ head: bigintString }) },
  'drain.to': {
    params: z.strictObject({ cut: bigintString, deadlineMs }),
    result: z.object({
      reached: z.boolean(),
      position: bigintString,
      waitingFor: z.string().nullable(),
    }),
  },
  'agent.disconnect': { params: z.strictObject({ deadlineMs }), result: none },
  explain: { params: none, result: z.object({ objects: z.array(objectSummary) }) },
  /** Times a copy of device memory; only while there is no client. bytes 0: it cannot tell. */
  calibrate: { params: none, result: z.object({ bytes: bigintString, ms: milliseconds }) },
  save: {
    params: z.strictObject({
      directory: path,
      parent: path.nullable(),
      ...imageWriting,
    }),
    result: saveResult,
  },
  /** Sets device memory aside for a save that is to begin soon, while the program runs on. */
  'save.prepare': {
    params: z.strictObject({ mode: saveMode }),
    result: z.object({ bytes: bigintString }),
  },
  /**
   * A save in two phases. Begun behind a closed gate at a reached cut; comes back when the gate may
   * open, or says that it may only after the second. A begin that fails leaves nothing begun.
   */
  'save.begin': {
    params: z.strictObject({
      directory: path,
      parent: path.nullable(),
      ...imageWriting,
      mode: saveMode,
      openGate: z.boolean(),
      deadlineMs,
    }),
    result: saveBegun,
  },
  /** Second phase: streams out what was begun; its progress comes as events. */
  'save.finish': { params: none, result: saveResult },
  /** Gives up the save under way, if there is one. */
  'save.abort': { params: none, result: none },
  load: {
    params: z.strictObject({
      directory: path,
      content: z.boolean().optional(),
      key: imageKey.optional(),
    }),
    result: loadResult,
  },
  suspend: { params: none, result: suspendResult },
  resume: { params: none, result: suspendResult },
  exit: { params: none, result: none },
} as const;

export type Methods = typeof methods;
export type MethodName = keyof Methods;
export type MethodParams<M extends MethodName> = z.output<Methods[M]['params']>;
export type MethodResult<M extends MethodName> = z.output<Methods[M]['result']>;

export const methodName = z.enum(Object.keys(methods) as [MethodName, ...MethodName[]]);

/** Events: what an executor says of its own accord. */
export const events = {
  'client.attached': z.object({ pid: count, reattached: z.boolean() }),
  'client.lost': z.object({
    reason: z.enum(['hang-up', 'protocol', 'disconnected', 'exit']),
    detail: z.string(),
  }),
  'context.error': z.object({ status: count, diagnostic: z.string() }),
  'call.unsupported': z.object({ name: z.string() }),
  /** `method` is the request under way: save, save.finish, load, suspend or resume. */
  progress: z.object({
    method: methodName,
    doneBytes: bigintString,
    totalBytes: bigintString,
  }),
} as const;

export type EventName = keyof typeof events;
export type EventParams<E extends EventName> = z.output<(typeof events)[E]>;
export type ExecutorNotice = {
  [E in EventName]: { readonly event: E; readonly params: EventParams<E> };
}[EventName];

export const eventName = z.enum(Object.keys(events) as [EventName, ...EventName[]]);

/** A PhosError as it travels. */
export const wireError = z.object({
  code: z.string(),
  message: z.string(),
  details: z.record(z.string(), z.unknown()),
  retryable: z.boolean(),
});
export type WireError = z.output<typeof wireError>;

export const request = z.strictObject({
  id: z.number().int().nonnegative(),
  method: methodName,
  params: z.unknown(),
});

export const answer = z.union([
  z.strictObject({ id: z.number().int().nonnegative(), result: z.unknown() }),
  z.strictObject({ id: z.number().int().nonnegative(), error: wireError }),
]);

export const notice = z.strictObject({ event: eventName, params: z.unknown() });

/** One line from an executor to whoever controls it. */
export const serverLine = z.union([answer, notice]);
