// SPDX-License-Identifier: Apache-2.0
/** native/gen/executor_dispatch.cc: from a command's id to what carries it out. */
import { splitType } from '../ctype.ts';
import { type Ir, type IrCall, resolveAlias } from '../ir.ts';
import { NotationError } from '../load.ts';
import type { ParamNotation } from '../schema.ts';
import { kindOfParam, replyOf } from '../wire.ts';
import { EXECUTOR_SUPPORT } from './executor-support.ts';
import { callLines, generated, type OutputFile } from './output.ts';
import { enumOfParam, maskOfParam } from './value-checks.ts';

/** Refuses the command where the condition holds. */
const refuseIf = (condition: string, what: string): string[] => [
  `  if (${condition}) {`,
  `    return refuse(session_, reply_, kCall, "${what}");`,
  '  }',
];

interface HandlerParts {
  readonly decode: string[];
  readonly outputs: string[];
  /** Wires of the objects that the new one depends on. */
  readonly parents: string[];
  readonly replyFields: string[];
  readonly outBlobs: string[];
}

function fromVoid(ir: Ir, type: string, value: string): string {
  const isPointer = resolveAlias(ir.types, type) in ir.types.opaque;
  return isPointer
    ? `static_cast<${type}>(${value})`
    : `static_cast<${type}>(reinterpret_cast<std::uintptr_t>(${value}))`;
}

function toVoid(ir: Ir, type: string, value: string): string {
  const isPointer = resolveAlias(ir.types, type) in ir.types.opaque;
  return isPointer ? value : `reinterpret_cast<void*>(static_cast<std::uintptr_t>(${value}))`;
}

function decodeHandle(ir: Ir, p: ParamNotation, parts: HandlerParts): void {
  if (p.handle === 'device') {
    parts.decode.push(
      `  if (req_.${p.name} != 0) return reply_.finish(CUDA_ERROR_INVALID_DEVICE);`,
      `  const CUdevice ${p.name} = session_.device();`,
    );
    return;
  }
  const type =
    p.handle === 'function'
      ? `function_or_kernel(req_.${p.name})`
      : `HandleType::${p.handle ?? ''}`;
  parts.decode.push(
    `  void* real_${p.name} = nullptr;`,
    '  if (const CUresult status_ =',
    p.loads
      ? `          session_.resolve_use(${type}, req_.${p.name}, &real_${p.name});`
      : `          session_.resolve(${type}, req_.${p.name}, ${p.nullable}, &real_${p.name});`,
    '      status_ != CUDA_SUCCESS) {',
    '    return reply_.finish(status_);',
    '  }',
    `  const ${p.type} ${p.name} = ${fromVoid(ir, p.type, `real_${p.name}`)};`,
  );
  parts.parents.push(`req_.${p.name}`);
}

function decodeValue(ir: Ir, p: ParamNotation, parts: HandlerParts): void {
  const named = enumOfParam(ir, p);
  const mask = maskOfParam(ir, p);
  const value = `req_.${p.name}`;
  if (named !== null) {
    const test = `!check::is_${named}(static_cast<std::int64_t>(${value}))`;
    parts.decode.push(...refuseIf(test, `${p.name} is no ${named}`));
  }
  if (mask !== null) {
    const test = `(std::uint64_t{${value}} & ~std::uint64_t{${mask}}) != 0`;
    parts.decode.push(...refuseIf(test, `${p.name} has unknown bits`));
  }
  parts.decode.push(`  const auto ${p.name} = static_cast<${p.type}>(req_.${p.name});`);
}

/** The blob as the driver takes it; the driver's own prototypes are not always const. */
function viewAs(p: ParamNotation, element: string): string {
  const { isConst } = splitType(p.type);
  const view = `blob_${p.name}`;
  const writable = isConst ? view : `const_cast<std::uint8_t*>(${view})`;
  if (element === 'void') return writable;
  return `reinterpret_cast<${isConst ? 'const ' : ''}${element}*>(${writable})`;
}

function findBlob(p: ParamNotation, optional: boolean): string[] {
  return [
    `  const std::uint8_t* blob_${p.name} = nullptr;`,
    ...refuseIf(
      `!find_blob(command_, req_.${p.name}, ${optional}, &blob_${p.name})`,
      `${p.name} lies outside the payload`,
    ),
  ];
}

function decodeString(p: ParamNotation, parts: HandlerParts): void {
  const terminated = `is_terminated(blob_${p.name}, req_.${p.name}.bytes)`;
  parts.decode.push(
    ...findBlob(p, p.nullable),
    ...refuseIf(`blob_${p.name} != nullptr && !${terminated}`, `${p.name} is not terminated`),
    '  // SAFETY: the text lies in the payload and ends there.',
    `  const char* const ${p.name} =`,
    `      ${viewAs(p, 'char')};`,
  );
}

function byteCount(p: ParamNotation, name: string, unit: string): string[] {
  return [
    `  const std::size_t ${name}_${p.name} =`,
    `      codec::array_bytes(static_cast<std::uint64_t>(${p.size ?? '0'}), ${unit});`,
  ];
}

function decodeHandles(p: ParamNotation, parts: HandlerParts): void {
  const { base, isConst } = splitType(p.type);
  const items = `items_${p.name}`;
  parts.decode.push(
    `  std::vector<${base}> ${items};`,
    '  if (const CUresult status_ =',
    `          resolve_all(session_, HandleType::${p.handle ?? ''}, blob_${p.name},`,
    `                      req_.${p.name}.bytes, &${items});`,
    '      status_ != CUDA_SUCCESS) {',
    '    return reply_.finish(status_);',
    '  }',
    `  ${isConst ? 'const ' : ''}${base}* const ${p.name} =`,
    `      ${items}.empty() ? nullptr : ${items}.data();`,
  );
}

function decodeArray(p: ParamNotation, isHandles: boolean, parts: HandlerParts): void {
  const { base, isConst } = splitType(p.type);
  const unit = isHandles ? 'sizeof(std::uint64_t)' : base === 'void' ? '1' : `sizeof(${base})`;
  const given = p.nullable ? `blob_${p.name} != nullptr && ` : '';
  parts.decode.push(
    ...findBlob(p, true),
    ...byteCount(p, 'expected', unit),
    ...refuseIf(`${given}req_.${p.name}.bytes != expected_${p.name}`, `${p.name} has a wrong size`),
  );
  if (isHandles) return decodeHandles(p, parts);
  parts.decode.push(
    '  // SAFETY: find_blob checked place and alignment, and the size is the expected one.',
    `  ${isConst ? 'const ' : ''}${base}* const ${p.name} =`,
    `      ${viewAs(p, base)};`,
  );
}

function outBlob(p: ParamNotation, parts: HandlerParts): void {
  const { base } = splitType(p.type);
  const element = base === 'void' ? 'std::uint64_t' : base;
  parts.decode.push(
    ...byteCount(p, 'bytes', base === 'void' ? '1' : `sizeof(${base})`),
    `  if (bytes_${p.name} > kMaxOutputBytes) return reply_.finish(CUDA_ERROR_INVALID_VALUE);`,
    `  std::vector<${element}> items_${p.name}(bytes_${p.name} / sizeof(${element}) + 1);`,
    `  ${base}* const ${p.name} = items_${p.name}.data();`,
  );
  parts.outBlobs.push(`{${p.name}, bytes_${p.name}}`);
}

function decodeParam(ir: Ir, call: IrCall, p: ParamNotation, parts: HandlerParts): string {
  const kind = kindOfParam(ir, call, p);
  const { base } = splitType(p.type);
  const isEnum = resolveAlias(ir.types, base) in ir.types.enums;
  switch (kind) {
    case 'handle':
      decodeHandle(ir, p, parts);
      return p.name;
    case 'value':
      decodeValue(ir, p, parts);
      return p.name;
    case 'record':
      parts.decode.push(`  const ${p.type} ${p.name} = req_.${p.name};`);
      return p.name;
    case 'record-pointer':
      parts.decode.push(
        `  ${base} value_${p.name} = req_.${p.name};`,
        `  ${base}* const ${p.name} = &value_${p.name};`,
      );
      return p.name;
    case 'string':
      decodeString(p, parts);
      return p.name;
    case 'array':
    case 'bytes':
    case 'handle-array':
      decodeArray(p, kind === 'handle-array', parts);
      return p.name;
    case 'out-array':
    case 'out-bytes':
      outBlob(p, parts);
      return p.name;
    case 'new-handle':
      parts.decode.push(`  ${base} made_${p.name}{};`);
      return `&made_${p.name}`;
    case 'inout-value':
    case 'inout-record': {
      const sent =
        kind === 'inout-value' ? `static_cast<${base}>(req_.${p.name})` : `req_.${p.name}`;
      parts.decode.push(`  ${base} value_${p.name} = ${sent};`);
      break;
    }
    case 'out-value':
    case 'out-record':
      parts.decode.push(`  ${base} value_${p.name}{};`);
      break;
  }
  parts.decode.push(`  ${base}* const ${p.name} = &value_${p.name};`);
  const cpp = replyOf(ir, call).fields.find((f) => f.name === p.name)?.cpp ?? '';
  const value = isEnum ? `static_cast<std::int64_t>(value_${p.name})` : `value_${p.name}`;
  const isRecord = kind === 'out-record' || kind === 'inout-record';
  parts.replyFields.push(
    `  rep_.${p.name} = ${isRecord ? `value_${p.name}` : `static_cast<${cpp}>(${value})`};`,
  );
  return p.name;
}

/** What the session is told after the driver has done it. */
function emitBookkeeping(ir: Ir, call: IrCall, parts: HandlerParts): string[] {
  if (call.onCurrentContext)
    return ['  session_.mutate(HandleType::context, command_.context(), command_);'];
  const object = call.object;
  if (object === null) return [];
  if (call.semantics === 'create') {
    const context = call.needs === 'context' ? ['command_.context()'] : [];
    const { base } = splitType(object.type);
    return [
      `  const std::uint64_t parents_[] = {${[...context, ...parts.parents].join(', ') || '0'}};`,
      ...callLines(
        '  session_.create',
        [
          `HandleType::${object.handle ?? ''}`,
          `req_.${object.name}`,
          toVoid(ir, base, `made_${object.name}`),
          'command_',
          'parents_',
        ],
        ';',
      ),
    ];
  }
  const type =
    object.handle === 'function'
      ? `function_or_kernel(req_.${object.name})`
      : `HandleType::${object.handle ?? ''}`;
  if (call.semantics === 'mutate')
    return [`  session_.mutate(${type}, req_.${object.name}, command_);`];
  if (call.semantics === 'destroy') {
    return [
      `  if (const CUresult status_ = session_.destroy(${type}, req_.${object.name});`,
      '      status_ != CUDA_SUCCESS) {',
      '    return reply_.finish(status_);',
      '  }',
    ];
  }
  return [];
}

function emitHandler(ir: Ir, call: IrCall): string[] {
  if (call.wire !== null) throw new NotationError(`${call.name}: wire: needs executor: custom`);
  const parts: HandlerParts = {
    decode: [],
    outputs: [],
    parents: [],
    replyFields: [],
    outBlobs: [],
  };
  // Sizes are expressions over other parameters, so what they speak of is decoded first.
  const sized = (p: ParamNotation): boolean => p.size !== undefined;
  const argOf = new Map(
    [...call.params.filter((p) => !sized(p)), ...call.params.filter(sized)].map((p) => [
      p.name,
      decodeParam(ir, call, p, parts),
    ]),
  );
  const args = call.params.map((p) => argOf.get(p.name) ?? p.name);
  const conditions = call.conditions
    .filter((c) => !c.client_only)
    .map((c) => `  if (${c.when}) return reply_.finish(${c.error});`);
  const hasReply = parts.replyFields.length > 0 || parts.outBlobs.length > 0;
  const usesRequest = [...parts.decode, ...emitBookkeeping(ir, call, parts)].some((l) =>
    l.includes('req_.'),
  );
  return [
    `void handle_${call.name}(Session& session_, const Command& command_, Reply& reply_) {`,
    `  constexpr CallId kCall = CallId::${call.name};`,
    `  const auto* const sent_ = command_.as<codec::Req_${call.name}>();`,
    `  if (sent_ == nullptr) {`,
    '    return refuse(session_, reply_, kCall, "the request is too short");',
    '  }',
    ...(usesRequest ? [`  const codec::Req_${call.name}& req_ = *sent_;`] : []),
    ...parts.decode,
    ...conditions,
    ...callLines(`  const CUresult result_ = session_.driver().${call.name}`, args, ';'),
    '  if (result_ != CUDA_SUCCESS) return reply_.finish(result_);',
    ...emitBookkeeping(ir, call, parts),
    ...(hasReply
      ? [
          `  codec::Rep_${call.name} rep_{};`,
          ...parts.replyFields,
          ...(parts.outBlobs.length === 0
            ? ['  reply_.finish(CUDA_SUCCESS, &rep_, sizeof(rep_));']
            : [
                `  const Part parts_[] = {${parts.outBlobs.join(', ')}};`,
                '  finish_with(reply_, &rep_, sizeof(rep_), parts_);',
              ]),
        ]
      : ['  reply_.finish(CUDA_SUCCESS);']),
    '}',
    '',
  ];
}

function emitHandlersHeader(ir: Ir): OutputFile {
  return generated(
    'native/gen/executor_handlers.h',
    'Hand-written handlers of the executor, and the way from an id to its handler.',
    [
      '#pragma once',
      '',
      '#include "executor/command.h"',
      '#include "gen/call_ids.h"',
      '',
      'namespace phos::executor {',
      '',
      '// Null for an id that no command may have.',
      'Handler handler_for(CallId id) noexcept;',
      '',
      '// Hand-written in native/executor. A saved command goes to the same handler at restore.',
      ...ir.calls
        .filter((c) => c.executor === 'custom')
        .map(
          (c) => `void handle_${c.name}(Session& session, const Command& command, Reply& reply);`,
        ),
      '',
      '}  // namespace phos::executor',
    ],
  );
}

export function emitExecutorDispatch(ir: Ir): readonly OutputFile[] {
  const handled = ir.calls.filter((c) => c.executor !== 'none');
  return [
    emitHandlersHeader(ir),
    generated('native/gen/executor_dispatch.cc', '', [
      '#include <array>',
      '#include <cstddef>',
      '#include <cstdint>',
      '#include <cstring>',
      '#include <span>',
      '#include <vector>',
      '',
      '#include "executor/command.h"',
      '#include "executor/session.h"',
      '#include "gen/codec.h"',
      '#include "gen/executor_handlers.h"',
      '#include "gen/handle_types.h"',
      '#include "gen/value_checks.h"',
      '#include "phos/handle.h"',
      '#include "phos/ring_layout.h"',
      '',
      'namespace phos::executor {',
      'namespace {',
      '',
      ...EXECUTOR_SUPPORT,
      ...handled.filter((c) => c.executor === 'generated').flatMap((c) => emitHandler(ir, c)),
      'constexpr std::array<Handler, std::size_t{kMaxCallId} + 1> make_table() {',
      '  std::array<Handler, std::size_t{kMaxCallId} + 1> table{};',
      ...handled.map(
        (c) => `  table[static_cast<std::size_t>(CallId::${c.name})] = &handle_${c.name};`,
      ),
      '  return table;',
      '}',
      '',
      'constexpr auto kHandlers = make_table();',
      '',
      '}  // namespace',
      '',
      'Handler handler_for(CallId id) noexcept {',
      '  const auto index = static_cast<std::size_t>(id);',
      '  return index < kHandlers.size() ? kHandlers[index] : nullptr;',
      '}',
      '',
      '}  // namespace phos::executor',
    ]),
  ];
}
