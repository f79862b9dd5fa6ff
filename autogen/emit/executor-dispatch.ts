// SPDX-License-Identifier: Apache-2.0
/** native/gen/executor_dispatch.cc: from a command's id to what carries it out. */
import { splitType } from '../ctype.ts';
import { type Ir, type IrCall, resolveAlias } from '../ir.ts';
import { NotationError } from '../load.ts';
import type { ParamNotation } from '../schema.ts';
import { kindOfParam, replyOf } from '../wire.ts';
import { callLines, generated, type OutputFile } from './output.ts';
import { enumOfParam, maskOfParam } from './value-checks.ts';

const broken = (what: string): string => `return refuse(session_, reply_, kCall, "${what}");`;

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
  return isPointer ? `static_cast<${type}>(${value})` : `static_cast<${type}>(reinterpret_cast<std::uintptr_t>(${value}))`;
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
  const type = p.handle === 'function' ? `function_or_kernel(req_.${p.name})` : `HandleType::${p.handle ?? ''}`;
  parts.decode.push(
    `  void* real_${p.name} = nullptr;`,
    '  if (const CUresult status_ =',
    `          session_.resolve(${type}, req_.${p.name}, ${p.nullable}, &real_${p.name});`,
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
  if (named !== null) parts.decode.push(`  if (!check::is_${named}(static_cast<std::int64_t>(req_.${p.name}))) ${broken(`${p.name} is no ${named}`)}`);
  if (mask !== null) parts.decode.push(`  if ((std::uint64_t{req_.${p.name}} & ~std::uint64_t{${mask}}) != 0) ${broken(`${p.name} has unknown bits`)}`);
  parts.decode.push(`  const auto ${p.name} = static_cast<${p.type}>(req_.${p.name});`);
}

function pointerTo(p: ParamNotation, element: string, expression: string): string {
  const { isConst } = splitType(p.type);
  return isConst ? `reinterpret_cast<const ${element}*>(${expression})`
    : `reinterpret_cast<${element}*>(const_cast<std::uint8_t*>(${expression}))`;
}

function decodeBlob(p: ParamNotation, kind: string, parts: HandlerParts): void {
  const { base, isConst } = splitType(p.type);
  const element = kind === 'string' ? 'char' : base;
  const view = `blob_${p.name}`;
  const optional = kind !== 'string' || p.nullable;
  parts.decode.push(`  const std::uint8_t* ${view} = nullptr;`);
  parts.decode.push(`  if (!find_blob(command_, req_.${p.name}, ${optional}, &${view})) ${broken(`${p.name} lies outside the payload`)}`);
  if (kind === 'string') {
    parts.decode.push(`  if (${view} != nullptr && !is_terminated(${view}, req_.${p.name}.bytes)) ${broken(`${p.name} is not terminated`)}`);
  } else {
    const unit = kind === 'handle-array' ? 'sizeof(std::uint64_t)' : base === 'void' ? '1' : `sizeof(${element})`;
    parts.decode.push(
      `  if (${view} != nullptr || (${p.size ?? '0'}) != 0) {`,
      `    const std::size_t expected_ = codec::array_bytes(static_cast<std::uint64_t>(${p.size ?? '0'}), ${unit});`,
      `    if (${p.nullable ? `${view} != nullptr && ` : ''}req_.${p.name}.bytes != expected_) ${broken(`${p.name} has a wrong size`)}`,
      '  }',
    );
  }
  if (kind === 'handle-array') {
    parts.decode.push(
      `  std::vector<${element}> items_${p.name};`,
      `  if (const CUresult status_ = resolve_all(session_, HandleType::${p.handle ?? ''}, ${view},`,
      `                                           req_.${p.name}.bytes, &items_${p.name});`,
      '      status_ != CUDA_SUCCESS) {', '    return reply_.finish(status_);', '  }',
      `  ${isConst ? `const ${element}* const` : `${element}* const`} ${p.name} = items_${p.name}.empty() ? nullptr : items_${p.name}.data();`,
    );
    return;
  }
  const type = base === 'void' ? 'void' : element;
  parts.decode.push(`  // SAFETY: find_blob checked place, size and alignment.`);
  parts.decode.push(`  ${isConst ? 'const ' : ''}${type}* const ${p.name} =`, `      ${pointerTo(p, type, view).replace(/reinterpret_cast<const void\*>\((.*)\)/, '$1').replace(/reinterpret_cast<void\*>\((.*)\)$/, '$1')};`);
}

function outBlob(p: ParamNotation, parts: HandlerParts): void {
  const { base } = splitType(p.type);
  const element = base === 'void' ? 'std::uint64_t' : base;
  const unit = base === 'void' ? '1' : `sizeof(${base})`;
  parts.decode.push(
    `  const std::size_t bytes_${p.name} = codec::array_bytes(static_cast<std::uint64_t>(${p.size ?? '0'}), ${unit});`,
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
      parts.decode.push(`  ${base} value_${p.name} = req_.${p.name};`, `  ${base}* const ${p.name} = &value_${p.name};`);
      return p.name;
    case 'string': case 'array': case 'bytes': case 'handle-array':
      decodeBlob(p, kind, parts);
      return p.name;
    case 'out-array': case 'out-bytes':
      outBlob(p, parts);
      return p.name;
    case 'new-handle':
      parts.decode.push(`  ${base} made_${p.name}{};`);
      return `&made_${p.name}`;
    case 'inout-value': case 'inout-record':
      parts.decode.push(`  ${base} value_${p.name} = ${kind === 'inout-value' ? `static_cast<${base}>(req_.${p.name})` : `req_.${p.name}`};`);
      parts.decode.push(`  ${base}* const ${p.name} = &value_${p.name};`);
      break;
    case 'out-value': case 'out-record':
      parts.decode.push(`  ${base} value_${p.name}{};`, `  ${base}* const ${p.name} = &value_${p.name};`);
      break;
  }
  const cpp = replyOf(ir, call).fields.find((f) => f.name === p.name)?.cpp ?? '';
  const plain = kind === 'out-record' || kind === 'inout-record';
  parts.replyFields.push(`  rep_.${p.name} = ${plain ? `value_${p.name}` : `static_cast<${cpp}>(${isEnum ? `static_cast<std::int64_t>(value_${p.name})` : `value_${p.name}`})`};`);
  return p.name;
}

/** What the session is told after the driver has done it. */
function emitBookkeeping(ir: Ir, call: IrCall, parts: HandlerParts): string[] {
  if (call.onCurrentContext) return ['  session_.mutate(HandleType::context, command_.context(), command_);'];
  const object = call.object;
  if (object === null) return [];
  if (call.semantics === 'create') {
    const context = call.needs === 'context' ? ['command_.context()'] : [];
    const { base } = splitType(object.type);
    return [
      `  const std::uint64_t parents_[] = {${[...context, ...parts.parents].join(', ') || '0'}};`,
      ...callLines('  session_.create', [`HandleType::${object.handle ?? ''}`, `req_.${object.name}`,
        toVoid(ir, base, `made_${object.name}`), 'command_', 'parents_'], ';'),
    ];
  }
  const type = object.handle === 'function' ? `function_or_kernel(req_.${object.name})` : `HandleType::${object.handle ?? ''}`;
  if (call.semantics === 'mutate') return [`  session_.mutate(${type}, req_.${object.name}, command_);`];
  if (call.semantics === 'destroy') {
    return [
      `  if (const CUresult status_ = session_.destroy(${type}, req_.${object.name});`,
      '      status_ != CUDA_SUCCESS) {', '    return reply_.finish(status_);', '  }',
    ];
  }
  return [];
}

function emitHandler(ir: Ir, call: IrCall): string[] {
  if (call.wire !== null) throw new NotationError(`${call.name}: wire: needs executor: custom`);
  const parts: HandlerParts = { decode: [], outputs: [], parents: [], replyFields: [], outBlobs: [] };
  // Sizes are expressions over other parameters, so what they speak of is decoded first.
  const sized = (p: ParamNotation): boolean => p.size !== undefined;
  const argOf = new Map([...call.params.filter((p) => !sized(p)), ...call.params.filter(sized)]
    .map((p) => [p.name, decodeParam(ir, call, p, parts)]));
  const args = call.params.map((p) => argOf.get(p.name) ?? p.name);
  const conditions = call.conditions.filter((c) => !c.client_only).map((c) => `  if (${c.when}) return reply_.finish(${c.error});`);
  const hasReply = parts.replyFields.length > 0 || parts.outBlobs.length > 0;
  const usesRequest = [...parts.decode, ...emitBookkeeping(ir, call, parts)].some((l) => l.includes('req_.'));
  return [
    `void handle_${call.name}(Session& session_, const Command& command_, Reply& reply_) {`,
    `  constexpr CallId kCall = CallId::${call.name};`,
    `  const auto* const sent_ = command_.as<codec::Req_${call.name}>();`,
    `  if (sent_ == nullptr) ${broken('the request is too short')}`,
    ...(usesRequest ? [`  const codec::Req_${call.name}& req_ = *sent_;`] : []),
    ...parts.decode,
    ...conditions,
    ...callLines(`  const CUresult result_ = session_.driver().${call.name}`, args, ';'),
    '  if (result_ != CUDA_SUCCESS) return reply_.finish(result_);',
    ...emitBookkeeping(ir, call, parts),
    ...(hasReply ? [
      `  codec::Rep_${call.name} rep_{};`,
      ...parts.replyFields,
      ...(parts.outBlobs.length === 0 ? ['  reply_.finish(CUDA_SUCCESS, &rep_, sizeof(rep_));'] : [
        `  const Part parts_[] = {${parts.outBlobs.join(', ')}};`,
        '  finish_with(reply_, &rep_, sizeof(rep_), parts_);',
      ]),
    ] : ['  reply_.finish(CUDA_SUCCESS);']),
    '}',
    '',
  ];
}

const SUPPORT = `// A part of a reply that follows its fixed part.
struct Part {
  const void* data;
  std::size_t size;
};

constexpr std::size_t kMaxOutputBytes = kReplyInlineBytes / 2;

void refuse(Session& session, Reply& reply, CallId call, const char* what) {
  session.protocol_error(call, what);
  reply.finish(CUDA_ERROR_INVALID_VALUE);
}

// The driver takes a kernel of a library wherever it takes a function.
[[maybe_unused]] HandleType function_or_kernel(std::uint64_t wire) noexcept {
  const bool is_kernel =
      is_handle(wire) && handle_type(wire) == static_cast<std::uint8_t>(HandleType::kernel);
  return is_kernel ? HandleType::kernel : HandleType::function;
}

[[maybe_unused]] bool find_blob(const Command& command, codec::BlobRef ref, bool optional,
                                const std::uint8_t** view) noexcept {
  if (ref.offset == 0) return optional && ref.bytes == 0;
  if (ref.offset % codec::kBlobAlign != 0) return false;
  *view = command.blob(ref.offset, ref.bytes);
  return *view != nullptr;
}

[[maybe_unused]] bool is_terminated(const std::uint8_t* text, std::size_t bytes) noexcept {
  return bytes != 0 && text[bytes - 1] == 0;
}

template <class T>
CUresult resolve_all(Session& session, HandleType type, const std::uint8_t* wires,
                     std::size_t bytes, std::vector<T>* items) {
  items->resize(wires == nullptr ? 0 : bytes / sizeof(std::uint64_t));
  for (std::size_t i = 0; i < items->size(); ++i) {
    std::uint64_t wire = 0;
    std::memcpy(&wire, wires + i * sizeof(wire), sizeof(wire));
    void* real = nullptr;
    const CUresult status = session.resolve(type, wire, false, &real);
    if (status != CUDA_SUCCESS) return status;
    // SAFETY: handles of the driver are as wide as pointers; the session keeps them as such.
    std::memcpy(&(*items)[i], &real, sizeof(T));
  }
  return CUDA_SUCCESS;
}

[[maybe_unused]] void finish_with(Reply& reply, const void* fixed, std::size_t fixed_bytes,
                                  std::span<const Part> parts) {
  alignas(codec::kBlobAlign) std::uint8_t buffer[kReplyInlineBytes];
  const std::size_t bytes = codec::payload_bytes(fixed_bytes, parts);
  if (bytes > sizeof(buffer)) return reply.finish(CUDA_ERROR_INVALID_VALUE);
  codec::write_payload(buffer, fixed, fixed_bytes, parts);
  reply.finish(CUDA_SUCCESS, buffer, bytes);
}
`.split('\n');

function emitHandlersHeader(ir: Ir): OutputFile {
  return generated('native/gen/executor_handlers.h', 'Hand-written handlers of the executor, and the way from an id to its handler.', [
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
    '// Hand-written in native/executor. A saved command is given to the same handler at restore.',
    ...ir.calls.filter((c) => c.executor === 'custom').map((c) => `void handle_${c.name}(Session& session, const Command& command, Reply& reply);`),
    '',
    '}  // namespace phos::executor',
  ]);
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
      ...SUPPORT,
      ...handled.filter((c) => c.executor === 'generated').flatMap((c) => emitHandler(ir, c)),
      'constexpr std::array<Handler, std::size_t{kMaxCallId} + 1> make_table() {',
      '  std::array<Handler, std::size_t{kMaxCallId} + 1> table{};',
      ...handled.map((c) => `  table[static_cast<std::size_t>(CallId::${c.name})] = &handle_${c.name};`),
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
