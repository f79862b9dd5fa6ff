// SPDX-License-Identifier: Apache-2.0
// Code as the engine runs it. A function's registers lie in a frame: 32 lanes of the register's
// size one after another, a predicate as one word of 32 bits. Constants, special registers and
// kernel parameters that never change are slots of the frame too, filled when it is set up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "module.h"
#include "types.h"

namespace phos::sim::ptx {

struct Warp;
struct Instr;
class Runner;

inline constexpr std::uint32_t kLanes = 32;
inline constexpr std::uint32_t kFullMask = 0xffffffffU;
inline constexpr std::uint32_t kNoSlot = 0xffffffffU;

// Executes one instruction for the lanes in the mask, which is not empty.
using Handler = void (*)(Warp& warp, const Instr& instr, std::uint32_t mask);

enum class Kind : std::uint8_t {
  plain,
  branch,          // to target
  branch_indexed,  // a: index; targets in extra[target ..], count in imm
  call,            // target: call site
  ret,
  exit,
  trap,
  brkpt,
  barrier,         // of the block
  warp_sync,       // waits for the lanes named in slot e, then runs the handler
  external,        // target: call site; imm: which
  yield,           // lets others run
};

enum InstrFlags : std::uint8_t {
  kGuardNegated = 1,
  kSpins = 2,      // a backward branch around something that other threads may change
  kNegateA = 4,    // predicate sources
  kNegateB = 8,
  kNegateC = 16,
  kPredicateA = 32,  // of warp operations: what kind of operand a and d are
  kPredicateD = 64,
  kWideA = 128,
};

struct alignas(64) Instr {
  Handler run = nullptr;
  std::uint32_t d = kNoSlot;  // byte offsets in the frame
  std::uint32_t a = kNoSlot;
  std::uint32_t b = kNoSlot;
  std::uint32_t c = kNoSlot;
  std::uint32_t guard = kNoSlot;
  Kind kind = Kind::plain;
  std::uint8_t flags = 0;
  std::uint16_t straight = 0;  // plain unguarded instructions from here on, this one included
  std::int64_t imm = 0;
  std::uint32_t e = kNoSlot;
  std::uint32_t d2 = kNoSlot;
  std::uint32_t target = 0;    // instruction, call site, or first of the extra slots
  std::uint32_t cache = 0;     // of the extent that a memory access found last
  std::uint32_t form = 0;      // opcode text
  std::uint32_t line = 0;
};
static_assert(sizeof(Instr) == 64);

// Values that a frame is given when it is set up.
enum class Special : std::uint8_t {
  tid_x, tid_y, tid_z, ntid_x, ntid_y, ntid_z,
  ctaid_x, ctaid_y, ctaid_z, nctaid_x, nctaid_y, nctaid_z,
  laneid, warpid, nwarpid, smid, nsmid, gridid,
  lanemask_eq, lanemask_le, lanemask_lt, lanemask_ge, lanemask_gt,
  dynamic_smem_size, total_smem_size, aggr_smem_size, envreg_high, envreg_low, zero, one,
};

struct SpecialSlot {
  std::uint32_t slot = 0;
  Special special = Special::zero;
  std::uint8_t bytes = 4;
};

struct ParameterSlot {
  std::uint32_t slot = 0;
  std::uint32_t offset = 0;   // in the parameter buffer
  std::uint8_t bytes = 4;     // read there
  std::uint8_t lane_bytes = 4;  // of the slot
  bool sign_extend = false;
};

// A slot that holds an address known only once the module is bound.
struct AddressSlot {
  enum class Of : std::uint8_t { variable, function, local, dynamic_shared };
  std::uint32_t slot = 0;
  Of of = Of::variable;
  std::uint8_t bytes = 8;
  std::uint32_t index = 0;
  std::int64_t addend = 0;
};

// Where a value of a device function's parameter lies: lane after lane, each of `bytes`.
struct ParamPlace {
  std::uint32_t slot = kNoSlot;  // in the frame
  std::uint32_t bytes = 0;       // per lane
  bool local = false;            // in local memory at offset `slot` of the frame's part instead
};

struct CallSite {
  bool indirect = false;
  std::uint32_t function = 0;    // direct: index in Program::functions
  std::uint32_t pointer = kNoSlot;  // indirect: slot of 64-bit addresses
  std::vector<ParamPlace> arguments;
  std::vector<ParamPlace> results;
};

struct CodeFunction {
  std::string name;
  bool defined = false;
  bool entry = false;
  std::vector<Instr> code;
  std::vector<std::uint32_t> extra;
  std::vector<CallSite> calls;
  std::uint32_t frame_bytes = 0;
  std::uint32_t local_bytes = 0;     // of one lane
  std::vector<std::byte> image;      // of a fresh frame; its first bytes are constants
  std::vector<SpecialSlot> specials;
  std::vector<ParameterSlot> parameters;
  std::vector<AddressSlot> addresses;
  std::vector<ParamPlace> param_places;
  std::vector<ParamPlace> return_places;
  std::uint32_t static_shared_bytes = 0;
  std::uint32_t register_estimate = 16;
  bool uses_grid_sync = false;
};

struct Variable {
  VariableInfo info;
  std::uint64_t address = 0;
};

// Contexts that have run a kernel and can be used again: setting one up costs more than a launch.
struct RunnerPool {
  std::mutex mutex;
  std::vector<std::unique_ptr<Runner>> idle;
  RunnerPool();
  ~RunnerPool();
};

struct Program {
  std::vector<std::string> forms;
  std::vector<Variable> variables;
  std::vector<VariableInfo> variable_infos;
  std::vector<Relocation> relocations;
  std::vector<CodeFunction> functions;
  std::vector<KernelInfo> kernels;
  std::vector<std::uint32_t> kernel_functions;
  std::vector<std::unique_ptr<RunnerPool>> pools;  // one per kernel
  std::uint32_t cache_count = 1;
  std::uint64_t function_base = 0;
  bool ready = false;
};

}  // namespace phos::sim::ptx
