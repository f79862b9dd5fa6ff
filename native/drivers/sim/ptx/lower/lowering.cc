// SPDX-License-Identifier: Apache-2.0
// The walk over a function's body, its frame, and what is computed of the finished code.
#include "lowering.h"

#include <algorithm>
#include <cstring>

#include "../refusal.h"
#include "../run/texture.h"
#include "topics.h"

namespace phos::sim::ptx {
namespace {

constexpr Lowering::Topic kTopics[] = {
    lower_integer, lower_float, lower_memory, lower_move,  lower_compare, lower_bits, lower_control,
    lower_convert, lower_warp,  lower_call,   lower_atomic, lower_async,  lower_special,
    lower_matrix,  lower_video,   lower_mbarrier, lower_texture,
};

constexpr std::uint32_t kMaxFrameBytes = 64U << 20;

std::uint32_t align_up(std::uint32_t value, std::uint32_t align) {
  return (value + align - 1) / align * align;
}

}  // namespace

Lowering::Lowering(ModuleContext& context, const text::Function& function, CodeFunction& out,
                   std::unordered_map<const text::Variable*, std::uint32_t> shared_offsets,
                   std::uint32_t static_shared)
    : mods(context.text.forms.empty() ? text::Form{} : context.text.forms.front()),
      context_(context), function_(function), out_(out),
      shared_offsets_(std::move(shared_offsets)), static_shared_(static_shared),
      slots_(function.registers.size(), kNoSlot), aliased_(function.code.size(), false),
      invariant_(function.registers.size(), false) {}

void Lowering::refuse(const std::string& reason) const {
  ptx::refuse(in_ != nullptr ? in_->line : function_.line,
              in_ != nullptr ? form().text : std::string_view{}, reason);
}

const text::Operand& Lowering::operand(std::size_t index) const {
  if (index >= in_->operand_count) {
    refuse("operand " + std::to_string(index + 1) + " is missing");
  }
  return function_.operands[in_->first_operand + index];
}

void Lowering::expect_operands(std::size_t least, std::size_t most) const {
  if (in_->operand_count < least || in_->operand_count > most) {
    refuse("it has " + std::to_string(in_->operand_count) + " operands, " +
           std::to_string(least) + (most > least ? " to " + std::to_string(most) : "") +
           " are expected");
  }
}

std::uint32_t Lowering::allocate(std::uint32_t bytes, std::uint32_t lanes) {
  const std::uint32_t slot = align_up(frame_bytes_, 32);
  frame_bytes_ = slot + align_up(bytes * lanes, 32);
  if (frame_bytes_ > kMaxFrameBytes) {
    refuse("the registers of function " + std::string(function_.name) + " take too much memory");
  }
  return slot;
}

std::uint32_t Lowering::allocate_predicate() {
  if (predicate_next_ == predicate_end_) {
    predicate_next_ = allocate(32, 1);
    predicate_end_ = predicate_next_ + 32;
  }
  const std::uint32_t slot = predicate_next_;
  predicate_next_ += 4;
  return slot;
}

std::uint32_t Lowering::register_slot(std::uint32_t reg) {
  std::uint32_t& slot = slots_[reg];
  if (slot == kNoSlot) {
    const Type type = function_.registers[reg].type;
    slot = type == Type::pred ? allocate_predicate() : allocate(bytes_of(type));
  }
  return slot;
}

// Temporaries live within one instruction, so each instruction starts over with the same ones.
std::uint32_t Lowering::temporary(std::uint32_t bytes) {
  for (std::uint32_t i = next_temporary_; i < temporaries_.size(); ++i) {
    if (temporaries_[i].first == bytes) {
      std::swap(temporaries_[i], temporaries_[next_temporary_]);
      return temporaries_[next_temporary_++].second;
    }
  }
  temporaries_.emplace_back(bytes, allocate(bytes));
  std::swap(temporaries_.back(), temporaries_[next_temporary_]);
  return temporaries_[next_temporary_++].second;
}

std::uint32_t Lowering::constant(Type type, std::uint64_t bits) {
  if (type == Type::pred) {
    refuse("a predicate cannot be an immediate here");
  }
  const std::uint32_t bytes = bytes_of(type);
  if (bytes < 8) {
    bits &= (std::uint64_t{1} << (8 * bytes)) - 1;
  }
  const auto [place, fresh] = constants_.try_emplace({bytes, bits}, 0);
  if (fresh) {
    place->second = allocate(bytes);
    image_writes_.emplace_back(place->second, bits);
    image_writes_.emplace_back(bytes, 0);
  }
  return place->second;
}

std::uint32_t Lowering::extra(std::span<const std::uint32_t> slots) {
  const auto first = static_cast<std::uint32_t>(out_.extra.size());
  out_.extra.insert(out_.extra.end(), slots.begin(), slots.end());
  return first;
}

Handler Lowering::handler(const Key& key) const {
  const Handler found = find_handler(key);
  if (found == nullptr) {
    refuse("the device has no such instruction");
  }
  return found;
}

Instr& Lowering::emit_unguarded(const Key& key) {
  Instr instr;
  instr.run = handler(key);
  instr.line = in_->line;
  instr.form = in_->form;
  const bool touches_memory = key.op == Op::ld || key.op == Op::st || key.op == Op::atom ||
                              key.op == Op::cp_async || key.op == Op::wmma_load ||
                              key.op == Op::wmma_store;
  instr.cache = touches_memory ? context_.program.cache_count++ : 0;
  out_.code.push_back(instr);
  observes_.push_back(observing_);
  return out_.code.back();
}

Instr& Lowering::emit(const Key& key) {
  Instr& instr = emit_unguarded(key);
  if (in_->guard != text::kNone) {
    instr.guard = register_slot(in_->guard);
    instr.flags = in_->guard_negated ? kGuardNegated : 0;
  }
  return instr;
}

Instr& Lowering::emit_kind(Kind kind) {
  Instr& instr = emit(Key{.op = Op::nop});
  instr.kind = kind;
  if (kind == Kind::branch) {
    branches_.push_back(static_cast<std::uint32_t>(out_.code.size() - 1));
  }
  return instr;
}

void Lowering::lower_one(std::size_t index) {
  in_ = &function_.code[index];
  next_temporary_ = 0;
  observing_ = false;
  if (aliased_[index]) {
    return;
  }
  mods = Modifiers(form());
  const std::size_t first = out_.code.size();
  for (const Topic topic : kTopics) {
    if (topic(*this)) {
      const std::string_view left = mods.left_over();
      if (!left.empty()) {
        refuse("modifier ." + std::string(left) + " is not supported here");
      }
      for (std::size_t i = first; i < observes_.size(); ++i) {
        observes_[i] = observes_[i] || observing_;
      }
      return;
    }
  }
  refuse("the device has no such instruction");
}

void Lowering::patch_branches() {
  std::vector<std::uint32_t> observed(out_.code.size() + 1, 0);
  for (std::size_t i = 0; i < out_.code.size(); ++i) {
    observed[i + 1] = observed[i] + (observes_[i] ? 1 : 0);
  }
  for (const std::uint32_t at : branches_) {
    Instr& branch = out_.code[at];
    branch.target = start_[branch.target];
    if (branch.target <= at && observed[at] != observed[branch.target]) {
      branch.flags |= kSpins;
    }
  }
  for (const Instr& instr : out_.code) {
    if (instr.kind == Kind::branch_indexed) {
      for (std::int64_t i = 0; i < instr.imm; ++i) {
        std::uint32_t& target = out_.extra[instr.target + static_cast<std::size_t>(i)];
        target = start_[target];
      }
    }
  }
}

void Lowering::mark_straight_runs() {
  std::uint32_t run = 0;
  for (std::size_t i = out_.code.size(); i-- > 0;) {
    Instr& instr = out_.code[i];
    run = instr.kind == Kind::plain && instr.guard == kNoSlot ? std::min(run + 1, 0xffffU) : 0;
    instr.straight = static_cast<std::uint16_t>(run);
  }
}

// Hardware registers are 32 bits wide and shared by values that are not alive together; a third of
// the virtual ones is a fair guess, for occupancy queries only.
void Lowering::estimate_registers() {
  std::uint32_t words = 0;
  for (const text::Register& reg : function_.registers) {
    words += reg.type == Type::pred ? 0 : (bytes_of(reg.type) + 3) / 4;
  }
  out_.register_estimate = std::clamp(align_up(words / 3 + 10, 2), 16U, 255U);
}

void Lowering::run() {
  place_parameters();
  place_locals();
  find_aliases();
  start_.reserve(function_.code.size() + 1);
  for (std::size_t i = 0; i < function_.code.size(); ++i) {
    start_.push_back(static_cast<std::uint32_t>(out_.code.size()));
    lower_one(i);
  }
  start_.push_back(static_cast<std::uint32_t>(out_.code.size()));
  in_ = nullptr;
  // Code that runs off its end returns, as hardware does.
  Instr last;
  last.run = find_handler(Key{.op = Op::nop});
  last.kind = function_.entry ? Kind::exit : Kind::ret;
  last.line = function_.line;
  out_.code.push_back(last);
  observes_.push_back(false);
  patch_branches();
  mark_straight_runs();
  estimate_registers();
  out_.frame_bytes = align_up(frame_bytes_ + 64, 64);
  out_.image.assign(out_.frame_bytes, std::byte{0});
  for (std::size_t i = 0; i + 1 < image_writes_.size(); i += 2) {
    const auto [slot, bits] = image_writes_[i];
    const std::uint32_t bytes = image_writes_[i + 1].first;
    for (std::uint32_t lane = 0; lane < kLanes; ++lane) {
      std::memcpy(out_.image.data() + slot + lane * bytes, &bits, std::min(bytes, 8U));
    }
  }
}

}  // namespace phos::sim::ptx
