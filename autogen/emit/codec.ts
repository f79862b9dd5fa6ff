// SPDX-License-Identifier: Apache-2.0
/** native/gen/codec.h: the request and the reply of every call that travels in the ring. */
import type { Ir } from '../ir.ts';
import { replyOf, requestOf, travels, type WireField, type WireStruct } from '../wire.ts';
import { generated, type OutputFile } from './output.ts';

const ABOUT = `What travels for each call. A payload is the fixed part, then its blobs, each at a
multiple of 8 bytes. The fixed part opens with one BlobRef for each blob, in the order of the
parameters, so write_payload and read_payload serve every call. Images hold requests: a change
here is a change of the image format.`;

const HELPERS = `
// A blob, by its place from the start of the payload; offset 0 stands for a null pointer.
struct BlobRef {
  std::uint32_t offset;
  std::uint32_t bytes;
};
static_assert(sizeof(BlobRef) == 8);

// A range of an arena: addresses are the same in both processes.
struct Extent {
  std::uint64_t address;
  std::uint64_t bytes;
};
static_assert(sizeof(Extent) == 16);

inline constexpr std::size_t kBlobAlign = 8;
constexpr std::size_t align_blob(std::size_t bytes) noexcept {
  return (bytes + kBlobAlign - 1) & ~(kBlobAlign - 1);
}

// Bytes of count elements, or SIZE_MAX where that is more than a size can say.
constexpr std::size_t array_bytes(std::uint64_t count, std::size_t element) noexcept {
  return element != 0 && count > SIZE_MAX / element ? SIZE_MAX
                                                    : static_cast<std::size_t>(count) * element;
}

// Bytes of a payload with these blobs. BlobT has data and size; null data is a null pointer.
template <class BlobT>
std::size_t payload_bytes(std::size_t fixed_bytes, std::span<BlobT> blobs) noexcept {
  std::size_t end = fixed_bytes;
  for (const auto& blob : blobs) {
    if (blob.data != nullptr) end = align_blob(end) + blob.size;
  }
  return end;
}

// Writes the fixed part and the blobs, and sets the references. \`to\` has payload_bytes() bytes.
template <class BlobT>
void write_payload(std::uint8_t* to, const void* fixed, std::size_t fixed_bytes,
                   std::span<BlobT> blobs) noexcept {
  std::memcpy(to, fixed, fixed_bytes);
  std::size_t end = fixed_bytes;
  for (std::size_t i = 0; i < blobs.size(); ++i) {
    BlobRef ref{0, 0};
    if (blobs[i].data != nullptr) {
      end = align_blob(end);
      if (blobs[i].size != 0) std::memcpy(to + end, blobs[i].data, blobs[i].size);
      ref = {static_cast<std::uint32_t>(end), static_cast<std::uint32_t>(blobs[i].size)};
      end += blobs[i].size;
    }
    // SAFETY: the fixed part opens with one reference for each blob.
    std::memcpy(to + i * sizeof(BlobRef), &ref, sizeof(ref));
  }
}

// Reads the fixed part and copies each blob to where the caller wants it (data, capacity), setting
// size. False where the payload is too short or a blob does not fit; nothing after that is written.
template <class OutBlobT>
bool read_payload(const std::uint8_t* from, std::size_t bytes, void* fixed,
                  std::size_t fixed_bytes, std::span<OutBlobT> blobs) noexcept {
  if (bytes < fixed_bytes) return false;
  std::memcpy(fixed, from, fixed_bytes);
  for (std::size_t i = 0; i < blobs.size(); ++i) {
    BlobRef ref{};
    std::memcpy(&ref, static_cast<const std::uint8_t*>(fixed) + i * sizeof(BlobRef), sizeof(ref));
    blobs[i].size = 0;
    if (ref.offset == 0) continue;
    if (ref.offset > bytes || ref.bytes > bytes - ref.offset) return false;
    if (ref.bytes > blobs[i].capacity) return false;
    if (blobs[i].data != nullptr && ref.bytes != 0) {
      std::memcpy(blobs[i].data, from + ref.offset, ref.bytes);
    }
    blobs[i].size = ref.bytes;
  }
  return true;
}
`.split('\n');

function emitField(f: WireField): string {
  const note = f.role === 'new-handle' ? '  // chosen by the client' : '';
  return `  ${f.cpp} ${f.name}${f.count > 0 ? `[${f.count}]` : ''};${note}`;
}

function emitStruct(name: string, call: string, wire: WireStruct): string[] {
  return [
    `struct ${name} {`,
    `  static constexpr CallId kCall = CallId::${call};`,
    `  static constexpr std::size_t kBlobs = ${wire.blobs.length};`,
    ...wire.fields.map(emitField),
    '};',
    `static_assert(sizeof(${name}) == ${wire.size});`,
    `static_assert(std::is_trivially_copyable_v<${name}>);`,
  ];
}

export function emitCodec(ir: Ir): readonly OutputFile[] {
  const structs = ir.calls
    .filter(travels)
    .flatMap((call) => [
      '',
      ...emitStruct(`Req_${call.name}`, call.name, requestOf(ir, call)),
      ...emitStruct(`Rep_${call.name}`, call.name, replyOf(ir, call)),
    ]);
  return [
    generated('native/gen/codec.h', ABOUT, [
      '#pragma once',
      '',
      '#include <cstddef>',
      '#include <cstdint>',
      '#include <cstring>',
      '#include <span>',
      '#include <type_traits>',
      '',
      '#include "gen/call_ids.h"',
      '#include "phos/cuda_abi.h"',
      '',
      'namespace phos::codec {',
      ...HELPERS,
      ...structs.slice(1),
      '',
      '}  // namespace phos::codec',
    ]),
  ];
}
