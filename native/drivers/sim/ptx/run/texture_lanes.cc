// SPDX-License-Identifier: Apache-2.0
// Texture and surface instructions, lane by lane; the rules are in texture.cc.
#include "../handlers/lanes.h"
#include "texture.h"

namespace phos::sim::ptx {
namespace {

using namespace PHOS_PTX_ISA;

void put(Warp& w, u32 offset, u32 lane, u32 bytes, u64 value) {
  if (offset == kNoSlot) return;
  if (bytes == 2) slot<u16>(w, offset)[lane] = static_cast<u16>(value);
  else if (bytes == 4) slot<u32>(w, offset)[lane] = static_cast<u32>(value);
  else slot<u64>(w, offset)[lane] = value;
}

u64 get(Warp& w, u32 offset, u32 lane, u32 bytes) {
  if (offset == kNoSlot) return 0;
  if (bytes == 2) return slot<u16>(w, offset)[lane];
  return bytes == 4 ? slot<u32>(w, offset)[lane] : slot<u64>(w, offset)[lane];
}

void surface_lane(Warp& w, const Instr& i, u32 lane, const TextureView& view,
                  const TextureSpec& spec, const u32* slots, const Coordinates& at) {
  bool outside = false;
  std::byte* place = surface_place(w, view, spec, at, &outside);
  if (place == nullptr && (!outside || spec.outside == Outside::trap)) {
    stop(i, kErrorIllegalAddress, lane, at.at[0],
         outside ? "the coordinates are not on the surface"
                 : "the memory behind the surface is gone");
  }
  const u32 bytes = spec.value_bytes;
  for (u32 k = 0; k < spec.count; ++k) {
    if (spec.op == TextureOp::store) {
      const u64 value = get(w, slots[k], lane, spec.lane_bytes);
      if (place != nullptr) __builtin_memcpy(place + k * bytes, &value, bytes);
      continue;
    }
    u64 value = 0;
    if (place != nullptr) __builtin_memcpy(&value, place + k * bytes, bytes);
    put(w, slots[k], lane, spec.lane_bytes, value);
  }
}

}  // namespace

void run_texture(Warp& w, const Instr& i, u32 mask) {
  const TextureSpec spec = TextureSpec::unpacked(i.imm);
  const u32* slots = w.current->function->extra.data() + i.target;
  const u64* objects = slot<u64>(w, i.a);
  const bool surface = spec.op == TextureOp::load || spec.op == TextureOp::store;
  std::shared_ptr<const TextureView> view;
  u64 known = 0;
  each_active(mask, [&](u32 lane) {
    if (view == nullptr || objects[lane] != known) {
      known = objects[lane];
      view = texture_of(i, lane, known, surface);
    }
    Coordinates at;
    for (u32 k = 0; k < 4; ++k) {
      if (slots[4 + k] != kNoSlot) at.at[k] = slot<u32>(w, slots[4 + k])[lane];
    }
    if (surface) return surface_lane(w, i, lane, *view, spec, slots, at);
    u32 out[4] = {0, 0, 0, 0};
    if (!sample(w, *view, spec, at, out)) {
      stop(i, kErrorIllegalAddress, lane, view->address, "the memory behind the texture is gone");
    }
    for (u32 k = 0; k < 4; ++k) put(w, slots[k], lane, 4, out[k]);
  });
}

}  // namespace phos::sim::ptx
