// SPDX-License-Identifier: Apache-2.0
/**
 * What a notation file may say. The keys are explained in autogen/README.md; a file that says
 * something else is refused with the file, the function and the key in the message.
 */
import { z } from 'zod';

export const CALL_CLASSES = ['local', 'async', 'sync', 'may-block'] as const;
export const SEMANTICS = [
  'create',
  'destroy',
  'mutate',
  'query',
  'launch',
  'copy',
  'sync',
  'local',
] as const;
const CLIENT_STATES = ['generated', 'custom', 'unsupported'] as const;
const EXECUTOR_STATES = ['generated', 'custom', 'none'] as const;

const identifier = z.string().regex(/^[A-Za-z_]\w*$/, 'must be a C identifier');
const handleName = z.string().regex(/^[a-z][a-z0-9_]*$/, 'must be a name of handles.yaml');

const paramSchema = z.strictObject({
  name: identifier,
  type: z.string().min(1),
  dir: z.enum(['in', 'out', 'inout']).default('in'),
  handle: handleName.optional(),
  /** A null pointer, or the zero handle, is a value that CUDA accepts here. */
  nullable: z.boolean().default(false),
  /** `string`, or an expression in C++ over parameters: elements, or bytes of a `void *`. */
  size: z.string().min(1).optional(),
  /** The value must be an enumerator of this enum. */
  enum: identifier.optional(),
  /** A record whose pointers mean the same on both sides (device addresses): bytes as they are. */
  raw: z.boolean().default(false),
  /** A function whose code the driver loads now if it has not yet. */
  loads: z.boolean().default(false),
  /** The value may have these bits only: an enum, or an integer. */
  flags: z.union([identifier, z.int().nonnegative()]).optional(),
});

const conditionSchema = z.strictObject({
  /** The expression speaks of things that only the client has. */
  client_only: z.boolean().default(false),
  /** An expression in C++ over the parameters; the call is refused where it holds. */
  when: z.string().min(1),
  error: z
    .string()
    .regex(/^CUDA_ERROR_[A-Z0-9_]+$/, 'must be a CUresult')
    .default('CUDA_ERROR_INVALID_VALUE'),
});

/** Fields of a request or reply in their order; see "wire" in autogen/README.md. */
const wireItem = z
  .string()
  .regex(
    /^(u8|u16|u32|u64|i32|i64|f32|f64|handle|blob|extent|[A-Za-z_]\w*) [A-Za-z_]\w*(\[\d+\])?$/,
    'must be a wire type and a name, such as "u32 grid[3]", "handle stream" or "blob arguments"',
  );

const wireSchema = z.strictObject({
  request: z.array(wireItem).default([]),
  reply: z.array(wireItem).default([]),
});

const versionSchema = z.strictObject({
  since: z.int().min(2000),
  symbol: identifier,
  flags: z.enum(['legacy', 'ptsz']).default('legacy'),
  /** Only where the signature differs from the newest: C declarations. */
  params: z.array(z.string()).optional(),
  /** How an old signature becomes the newest: new parameter -> expression over the old ones. */
  adapt: z.record(identifier, z.string()).optional(),
  /** An old signature with a hand-written body of its own, named after the symbol. */
  client: z.enum(['custom', 'unsupported']).optional(),
});

const functionSchema = z.strictObject({
  name: identifier,
  id: z.int().min(1).max(0x3ff),
  source_symbol: identifier.optional(),
  class: z.enum(CALL_CLASSES),
  semantics: z.enum(SEMANTICS),
  client: z.enum(CLIENT_STATES),
  executor: z.enum(EXECUTOR_STATES),
  /** What must have happened before: nothing, cuInit, or a current context as well. */
  needs: z.enum(['nothing', 'init', 'context']).default('context'),
  /** The parameter whose object is created, changed or destroyed, where it is not the first;
      `current_context` for the calling thread's current context. */
  object: identifier.optional(),
  params: z.array(paramSchema),
  /** Replaces the request and reply that follow from params; then both sides are hand-written. */
  wire: wireSchema.optional(),
  conditions: z.array(conditionSchema).default([]),
  versions: z.array(versionSchema).min(1),
});

export const topicFileSchema = z.strictObject({
  topic: z.string(),
  title: z.string(),
  functions: z.array(functionSchema),
});

const fieldSchema: z.ZodType<FieldNotation> = z.lazy(() =>
  z.union([
    z.string(),
    z.strictObject({ struct: z.string(), name: z.string(), fields: z.array(fieldSchema) }),
    z.strictObject({ union: z.string(), name: z.string(), fields: z.array(fieldSchema) }),
  ]),
);

export type FieldNotation =
  | string
  | { struct: string; name: string; fields: FieldNotation[] }
  | { union: string; name: string; fields: FieldNotation[] };

export const typeFileSchema = z.strictObject({
  constants: z.record(identifier, z.union([z.int(), z.string()])).default({}),
  opaque: z.record(identifier, identifier).default({}),
  aliases: z.record(identifier, z.string()).default({}),
  callbacks: z
    .record(identifier, z.strictObject({ result: z.string(), params: z.array(z.string()) }))
    .default({}),
  enums: z
    .record(
      identifier,
      z.strictObject({ tag: z.string().default(''), values: z.record(identifier, z.int()) }),
    )
    .default({}),
  records: z
    .record(
      identifier,
      z.strictObject({
        tag: z.string(),
        kind: z.enum(['struct', 'union']).default('struct'),
        align: z.int().positive().optional(),
        fields: z.array(fieldSchema),
      }),
    )
    .default({}),
});

export const internalFileSchema = z.strictObject({
  commands: z.array(
    z.strictObject({
      name: identifier,
      id: z.int().min(0x400).max(0x7ff),
      about: z.string().min(1),
      class: z.enum(CALL_CLASSES),
      semantics: z.enum(SEMANTICS),
      object: identifier.optional(),
      params: z.array(paramSchema).default([]),
      wire: wireSchema.optional(),
    }),
  ),
  /** Symbols that the client library exports besides those of the driver API. */
  exports: z.array(z.strictObject({ symbol: identifier, why: z.string().min(1) })).default([]),
});

export const handleFileSchema = z.strictObject({
  handles: z.array(
    z.strictObject({
      name: handleName,
      id: z.int().min(1).max(255),
      type: z.string(),
      visibility: z.enum(['host', 'device']),
      about: z.string().min(1),
    }),
  ),
});

export const sizeFileSchema = z.strictObject({
  sizes: z.array(
    z.strictObject({
      name: identifier,
      type: identifier,
      about: z.string().min(1),
      values: z.record(identifier, z.int().positive()),
    }),
  ),
});

export const errorFileSchema = z.strictObject({
  errors: z.array(
    z.strictObject({
      code: z.string().regex(/^[A-Z][A-Z_]+$/),
      exit: z.int().min(1).max(255),
      retryable: z.boolean().default(false),
      meaning: z.string().min(1),
      cure: z.string().min(1),
    }),
  ),
});

export type ParamNotation = z.infer<typeof paramSchema>;
export type FunctionNotation = z.infer<typeof functionSchema>;
export type WireNotation = z.infer<typeof wireSchema>;
export type VersionNotation = z.infer<typeof versionSchema>;
export type TypeFile = z.infer<typeof typeFileSchema>;
export type InternalCommand = z.infer<typeof internalFileSchema>['commands'][number];
export type HandleNotation = z.infer<typeof handleFileSchema>['handles'][number];
export type SizeNotation = z.infer<typeof sizeFileSchema>['sizes'][number];
export type ErrorNotation = z.infer<typeof errorFileSchema>['errors'][number];
