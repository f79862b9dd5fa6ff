// SPDX-License-Identifier: Apache-2.0
// Loads and stores of every shape, lane by lane: what memory.cc has no fast way for.
#include "lanes.h"

namespace phos::sim::ptx::PHOS_PTX_ISA {
namespace {

std::byte* reach_any(Warp& w, const Instr& i, u32 lane, u64 address, u32 bytes, Space space,
                     Access access) {
  switch (space) {
    case Space::shared: return reach_shared(w, i, lane, address, bytes, bytes);
    case Space::local: return reach_local(w, i, lane, address, bytes, bytes);
    case Space::param:
      // SAFETY: parameters are only read; lowering makes no stores to them.
      return const_cast<std::byte*>(reach_param(w, i, lane, address, bytes, bytes));
    default: return reach(w, i, lane, address, bytes, bytes, access);
  }
}

void copy_extended(std::byte* to, u32 to_bytes, const std::byte* from, u32 from_bytes,
                   bool sign_extend) {
  std::byte value[16] = {};
  std::memcpy(value, from, from_bytes);
  if (sign_extend && (value[from_bytes - 1] & std::byte{0x80}) != std::byte{0}) {
    std::memset(value + from_bytes, 0xff, sizeof value - from_bytes);
  }
  std::memcpy(to, value, to_bytes);
}

template <bool Store>
void access(Warp& w, const Instr& i, u32 mask) {
  const AccessSpec spec = AccessSpec::unpacked(i.e);
  const u32* extra = w.current->function->extra.data() + i.target;
  const u32* registers = spec.count == 1 ? &i.d : extra;
  const u32 total = u32{spec.bytes} * spec.count;
  each_active(mask, [&](u32 l) {
    std::byte* at = nullptr;
    if (spec.space == Space::reg) {  // a parameter of a call: b bytes for each lane
      // SAFETY: lowering has checked that the access stays inside of the parameter.
      at = w.frame + i.a + u64{l} * i.b + i.imm;
    } else {
      const auto offset = static_cast<u64>(i.imm);
      const u64 address = spec.wide_address ? slot<u64>(w, i.a)[l] + offset
                                            : static_cast<u32>(slot<u32>(w, i.a)[l] + offset);
      at = reach_any(w, i, l, address, total, spec.space,
                     Store ? Access::store : Access::load);
    }
    std::byte whole[64];
    if (!Store) {
      std::memcpy(whole, at, total);
    }
    for (u32 k = 0; k < spec.count; ++k) {
      if (registers[k] == kNoSlot) {
        continue;
      }
      std::byte* lane = slot<std::byte>(w, registers[k]) + l * spec.lane_bytes;
      if (Store) {
        std::memcpy(at + k * spec.bytes, lane, spec.bytes);
      } else {
        copy_extended(lane, spec.lane_bytes, whole + k * spec.bytes, spec.bytes,
                      spec.sign_extend);
      }
    }
  });
}

void load_param(Warp& w, const Instr& i, u32 mask) {
  const AccessSpec spec = AccessSpec::unpacked(i.e);
  const u32* extra = w.current->function->extra.data() + i.target;
  const u32* registers = spec.count == 1 ? &i.d : extra;
  for (u32 k = 0; k < spec.count; ++k) {
    if (registers[k] != kNoSlot) {
      std::byte* lanes = slot<std::byte>(w, registers[k]);
      each_active(mask, [&](u32 l) {
        copy_extended(lanes + l * spec.lane_bytes, spec.lane_bytes,
                      w.params + i.imm + k * spec.bytes, spec.bytes, spec.sign_extend);
      });
    }
  }
}

}  // namespace

Handler find_general_access(const Key& key) {
  if (bytes_of(key.type) > bytes_of(key.from) || key.width > 8 ||
      bytes_of(key.type) * key.width > 32) {
    return nullptr;
  }
  switch (key.op) {
    case Op::ld: return access<false>;
    case Op::st: return key.space == Space::param ? nullptr : access<true>;
    case Op::ld_param: return load_param;
    default: return nullptr;
  }
}

}  // namespace phos::sim::ptx::PHOS_PTX_ISA
