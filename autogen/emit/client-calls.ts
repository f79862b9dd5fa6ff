// SPDX-License-Identifier: Apache-2.0
/** native/gen/client_calls.cc: bodies that check, encode, send, and give back what came. */
import { declare, splitType } from '../ctype.ts';
import { type Ir, type IrCall, resolveAlias } from '../ir.ts';
import { NotationError } from '../load.ts';
import type { ParamNotation } from '../schema.ts';
import { kindOfParam, type ParamKind, replyOf, requestOf } from '../wire.ts';
import { callLines, generated, type OutputFile } from './output.ts';
import { enumOfParam, maskOfParam } from './value-checks.ts';

interface Parts {
  readonly checks: string[];
  readonly encode: string[];
  readonly blobs: string[];
  readonly outBlobs: string[];
  readonly decode: string[];
}

const INVALID = 'return CUDA_ERROR_INVALID_VALUE;';
const attempt = (expression: string): string[] => [
  `  if (const CUresult status_ = ${expression}; status_ != CUDA_SUCCESS) return status_;`,
];

function elementType(p: ParamNotation): string {
  const { base } = splitType(p.type);
  return base === 'void' ? 'char' : base;
}

/** `bytes_NAME`: what the size expression comes to, refused where it overflows. */
function emitByteCount(p: ParamNotation): string[] {
  return [
    `  const std::size_t bytes_${p.name} =`,
    `      codec::array_bytes(static_cast<std::uint64_t>(${p.size ?? '0'}),`,
    `                         sizeof(${elementType(p)}));`,
    `  if (bytes_${p.name} == SIZE_MAX) ${INVALID}`,
  ];
}

function emitHandle(p: ParamNotation, parts: Parts, isDestroyed: boolean, ir: Ir): void {
  const { base } = splitType(p.type);
  const isPointer = resolveAlias(ir.types, base) in ir.types.opaque;
  const value = isPointer
    ? `reinterpret_cast<std::uint64_t>(${p.name})`
    : p.handle === 'device'
      ? `static_cast<std::uint64_t>(static_cast<std::uint32_t>(${p.name}))`
      : `static_cast<std::uint64_t>(${p.name})`;
  const call = isDestroyed
    ? `retire_handle(HandleType::${p.handle ?? ''}, ${value}, &req_.${p.name})`
    : `handle_arg(HandleType::${p.handle ?? ''}, ${value}, ${p.nullable}, &req_.${p.name})`;
  // A handle is retired only when nothing else can refuse the call any more.
  (isDestroyed ? parts.encode : parts.checks).push(
    `  if (const CUresult status_ =`,
    `          ${call};`,
    '      status_ != CUDA_SUCCESS) {',
    '    return status_;',
    '  }',
  );
}

function emitNewHandle(ir: Ir, p: ParamNotation, parts: Parts): void {
  const { base } = splitType(p.type);
  const isPointer = resolveAlias(ir.types, base) in ir.types.opaque;
  parts.encode.push(...attempt(`new_handle(HandleType::${p.handle ?? ''}, &req_.${p.name})`));
  parts.decode.push(
    `  *${p.name} = ${isPointer ? 'reinterpret_cast' : 'static_cast'}<${base}>(req_.${p.name});`,
  );
}

function emitArray(p: ParamNotation, kind: ParamKind, parts: Parts): void {
  const count = emitByteCount(p);
  if (kind === 'bytes' || kind === 'out-bytes')
    count.push(`  if (bytes_${p.name} == 0) ${INVALID}`);
  parts.checks.push(...count);
  if (!p.nullable)
    parts.checks.push(`  if (${p.name} == nullptr && bytes_${p.name} != 0) ${INVALID}`);
  if (kind === 'handle-array') {
    parts.encode.push(
      `  WireArray wires_${p.name};`,
      `  if (const CUresult status_ = wires_${p.name}.fill(`,
      `          HandleType::${p.handle ?? ''}, ${p.name}, bytes_${p.name} / sizeof(*${p.name}));`,
      '      status_ != CUDA_SUCCESS) {',
      '    return status_;',
      '  }',
    );
    parts.blobs.push(`{wires_${p.name}.data(), wires_${p.name}.bytes()}`);
  } else if (kind.startsWith('out-')) {
    parts.outBlobs.push(`{${p.name}, bytes_${p.name}, 0}`);
  } else {
    parts.blobs.push(`{${p.name}, bytes_${p.name}}`);
  }
}

function emitParam(ir: Ir, call: IrCall, p: ParamNotation, parts: Parts): void {
  const kind = kindOfParam(ir, call, p);
  const { base, depth } = splitType(p.type);
  if (depth > 0 && !p.nullable && p.size === undefined)
    parts.checks.push(`  if (${p.name} == nullptr) ${INVALID}`);
  const values = requestOf(ir, call)
    .fields.concat(replyOf(ir, call).fields)
    .find((f) => f.name === p.name && f.role !== 'pad');
  switch (kind) {
    case 'handle':
      return emitHandle(p, parts, call.semantics === 'destroy' && call.object === p, ir);
    case 'new-handle':
      return emitNewHandle(ir, p, parts);
    case 'value':
      parts.encode.push(`  req_.${p.name} = static_cast<${values?.cpp ?? ''}>(${p.name});`);
      return;
    case 'record':
      parts.encode.push(`  req_.${p.name} = ${p.name};`);
      return;
    case 'record-pointer':
      parts.encode.push(`  req_.${p.name} = *${p.name};`);
      return;
    case 'string':
      if (!p.nullable) parts.checks.push(`  if (${p.name} == nullptr) ${INVALID}`);
      parts.checks.push(
        `  const std::size_t bytes_${p.name} =`,
        p.nullable
          ? `      ${p.name} == nullptr ? 0 : std::strlen(${p.name}) + 1;`
          : `      std::strlen(${p.name}) + 1;`,
      );
      parts.blobs.push(`{${p.name}, bytes_${p.name}}`);
      return;
    case 'array':
    case 'bytes':
    case 'handle-array':
    case 'out-array':
    case 'out-bytes':
      return emitArray(p, kind, parts);
    case 'inout-value':
      parts.encode.push(`  req_.${p.name} = static_cast<${values?.cpp ?? ''}>(*${p.name});`);
      parts.decode.push(`  *${p.name} = static_cast<${base}>(rep_.${p.name});`);
      return;
    case 'inout-record':
      parts.encode.push(`  req_.${p.name} = *${p.name};`);
      parts.decode.push(`  *${p.name} = rep_.${p.name};`);
      return;
    case 'out-value':
    case 'out-record': {
      const value =
        kind === 'out-value' ? `static_cast<${base}>(rep_.${p.name})` : `rep_.${p.name}`;
      parts.decode.push(
        p.nullable
          ? `  if (${p.name} != nullptr) *${p.name} = ${value};`
          : `  *${p.name} = ${value};`,
      );
    }
  }
}

/** Refusals that follow from enum, flags and conditions; the executor makes them too. */
function emitRefusals(ir: Ir, call: IrCall): string[] {
  const lines: string[] = [];
  for (const p of call.params) {
    const named = enumOfParam(ir, p);
    const mask = maskOfParam(ir, p);
    if (named !== null)
      lines.push(`  if (!check::is_${named}(static_cast<std::int64_t>(${p.name}))) ${INVALID}`);
    if (mask !== null)
      lines.push(
        `  if ((static_cast<std::uint64_t>(${p.name}) & ~std::uint64_t{${mask}}) != 0) ${INVALID}`,
      );
  }
  for (const c of call.conditions) lines.push(`  if (${c.when}) return ${c.error};`);
  return lines;
}

function emitSend(call: IrCall, parts: Parts): string[] {
  const lines: string[] = [];
  const created = call.semantics === 'create' ? call.object : null;
  if (parts.blobs.length > 0) lines.push(`  const Blob in_[] = {${parts.blobs.join(', ')}};`);
  if (parts.outBlobs.length > 0) lines.push(`  OutBlob out_[] = {${parts.outBlobs.join(', ')}};`);
  const input = parts.blobs.length > 0 ? 'in_' : '{}';
  if (call.class === 'async') {
    lines.push(`  const CUresult result_ = call_async(CallId::${call.name}, req_, ${input});`);
  } else {
    lines.push(`  codec::Rep_${call.name} rep_{};`);
    lines.push(
      ...callLines(
        '  const CUresult result_ = call_sync',
        [`CallId::${call.name}`, 'req_', input, '&rep_', parts.outBlobs.length > 0 ? 'out_' : '{}'],
        ';',
      ),
    );
  }
  if (created === null && parts.decode.length === 0) return [...lines, '  return result_;'];
  lines.push('  if (result_ != CUDA_SUCCESS) {');
  if (created !== null)
    lines.push(`    drop_handle(HandleType::${created.handle ?? ''}, req_.${created.name});`);
  return [...lines, '    return result_;', '  }', ...parts.decode, '  return CUDA_SUCCESS;'];
}

function emitBody(ir: Ir, call: IrCall): string[] {
  const parts: Parts = { checks: [], encode: [], blobs: [], outBlobs: [], decode: [] };
  for (const p of call.params) emitParam(ir, call, p, parts);
  const onlyNewHandle =
    parts.decode.length === 0 || (call.semantics === 'create' && parts.decode.length === 1);
  if (call.class === 'async' && !(onlyNewHandle && parts.outBlobs.length === 0)) {
    throw new NotationError(
      `${call.name}: class async, but it has outputs; make it sync or client: custom`,
    );
  }
  if (call.class === 'local')
    throw new NotationError(`${call.name}: class local needs client: custom`);
  if (call.takesStreamMode)
    throw new NotationError(
      `${call.name}: the stream is in no parameter, so it needs client: custom`,
    );
  if (call.wire !== null) throw new NotationError(`${call.name}: wire: needs client: custom`);
  const need =
    call.needs === 'nothing'
      ? []
      : attempt(call.needs === 'init' ? 'require_init()' : 'require_context()');
  return [
    ...callLines(
      `CUresult ${call.name}`,
      call.params.map((p) => declare(p.type, p.name)),
      ' {',
    ),
    ...need,
    `  codec::Req_${call.name} req_{};`,
    ...parts.checks,
    ...emitRefusals(ir, call),
    ...parts.encode,
    ...emitSend(call, parts),
    '}',
    '',
  ];
}

const WIRE_ARRAY = `namespace {

// Handles of an array as they travel. Short arrays need no heap.
class WireArray {
 public:
  WireArray() noexcept = default;
  ~WireArray() { std::free(heap_); }
  WireArray(const WireArray&) = delete;
  WireArray& operator=(const WireArray&) = delete;

  template <class T>
  CUresult fill(HandleType type, T* const* handles, std::size_t count) noexcept {
    if (count > kInline) {
      heap_ = static_cast<std::uint64_t*>(std::calloc(count, sizeof(std::uint64_t)));
      if (heap_ == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
    }
    count_ = count;
    std::uint64_t* const wires = heap_ != nullptr ? heap_ : inline_;
    for (std::size_t i = 0; i < count; ++i) {
      // SAFETY: a phos handle is an integer in disguise.
      const CUresult status =
          handle_arg(type, reinterpret_cast<std::uint64_t>(handles[i]), false, &wires[i]);
      if (status != CUDA_SUCCESS) return status;
    }
    return CUDA_SUCCESS;
  }
  const void* data() const noexcept { return heap_ != nullptr ? heap_ : inline_; }
  std::size_t bytes() const noexcept { return count_ * sizeof(std::uint64_t); }

 private:
  static constexpr std::size_t kInline = 16;
  std::uint64_t inline_[kInline]{};
  std::uint64_t* heap_ = nullptr;
  std::size_t count_ = 0;
};

}  // namespace`.split('\n');

export function emitClientCalls(ir: Ir): readonly OutputFile[] {
  const calls = ir.driverCalls.filter((c) => c.client === 'generated');
  const usesArrays = calls.some((c) =>
    c.params.some((p) => kindOfParam(ir, c, p) === 'handle-array'),
  );
  return [
    generated('native/gen/client_calls.cc', '', [
      '#include <cstddef>',
      '#include <cstdint>',
      '#include <cstdlib>',
      '#include <cstring>',
      '',
      '#include "client/call.h"',
      '#include "gen/client_impl.h"',
      '#include "gen/codec.h"',
      '#include "gen/handle_types.h"',
      '#include "gen/value_checks.h"',
      '',
      'namespace phos::client {',
      ...(usesArrays ? WIRE_ARRAY : []),
      '',
      'namespace impl {',
      '',
      ...calls.flatMap((c) => emitBody(ir, c)),
      '}  // namespace impl',
      '}  // namespace phos::client',
    ]),
  ];
}
