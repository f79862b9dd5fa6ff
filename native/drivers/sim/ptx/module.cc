// SPDX-License-Identifier: Apache-2.0
#include "module.h"

#include <algorithm>
#include <cstring>

#include "../memory/address_space.h"
#include "lower/lowering.h"
#include "program.h"
#include "refusal.h"
#include "run/runner.h"

namespace phos::sim::ptx {

Module::Module(std::unique_ptr<Program> program) : program_(std::move(program)) {}
Module::~Module() = default;

Module::Loaded Module::load(std::string_view ptx) { return link({&ptx, 1}); }

Module::Loaded Module::link(std::span<const std::string_view> texts) {
  try {
    return {std::unique_ptr<Module>(new Module(build_program(texts))), {}};
  } catch (const Refusal& refusal) {
    return {nullptr, refusal.diagnostic};
  }
}

std::span<const KernelInfo> Module::kernels() const noexcept { return program_->kernels; }

std::optional<std::uint32_t> Module::find_kernel(std::string_view name) const {
  for (std::uint32_t i = 0; i < program_->kernels.size(); ++i) {
    if (program_->kernels[i].name == name) {
      return i;
    }
  }
  return std::nullopt;
}

std::span<const VariableInfo> Module::variables() const noexcept {
  return program_->variable_infos;
}

std::optional<std::uint32_t> Module::find_variable(std::string_view name) const {
  for (std::uint32_t i = 0; i < program_->variables.size(); ++i) {
    if (program_->variables[i].info.name == name) {
      return i;
    }
  }
  return std::nullopt;
}

std::span<const Relocation> Module::relocations() const noexcept { return program_->relocations; }

void Module::bind(std::uint32_t variable, std::uint64_t address) {
  program_->variables.at(variable).address = address;
  program_->ready = false;
}

std::uint64_t Module::address_of(std::uint32_t variable) const noexcept {
  return variable < program_->variables.size() ? program_->variables[variable].address : 0;
}

void Module::set_function_base(std::uint64_t base) noexcept {
  program_->function_base = base;
  program_->ready = false;
}

std::uint32_t Module::function_count() const noexcept {
  return static_cast<std::uint32_t>(program_->functions.size());
}

std::optional<std::uint64_t> Module::function_address(std::string_view name) const {
  for (std::size_t i = 0; i < program_->functions.size(); ++i) {
    if (program_->functions[i].name == name) {
      return program_->function_base + i * kFunctionStride;
    }
  }
  return std::nullopt;
}

Diagnostic Module::initialise(const AddressSpace& memory) {
  for (const Variable& variable : program_->variables) {
    const VariableInfo& info = variable.info;
    if (info.bytes == 0) {
      continue;
    }
    std::byte* host = memory.resolve(variable.address, info.bytes);
    if (host == nullptr) {
      return {kErrorInvalidImage, 0, {}, "variable " + info.name + " has no memory" +
              (info.external ? ": it is declared .extern and no module defines it" : "")};
    }
    const std::size_t given = std::min<std::size_t>(info.initial.size(), info.bytes);
    std::memcpy(host, info.initial.data(), given);
    std::memset(host + given, 0, info.bytes - given);
  }
  for (const Relocation& r : program_->relocations) {
    std::uint64_t value = r.to_function
                              ? program_->function_base + r.target * kFunctionStride
                              : program_->variables[r.target].address;
    value = (value + static_cast<std::uint64_t>(r.addend)) >> r.shift;
    std::byte* host = memory.resolve(program_->variables[r.variable].address + r.offset, r.bytes);
    if (host == nullptr) {
      return {kErrorInvalidImage, 0, {}, "an initial address lies outside of its variable"};
    }
    std::memcpy(host, &value, r.bytes);
  }
  return attach();
}

Diagnostic Module::attach() {
  for (CodeFunction& function : program_->functions) {
    for (const AddressSlot& slot : function.addresses) {
      std::uint64_t value = 0;
      if (slot.of == AddressSlot::Of::variable) {
        value = program_->variables[slot.index].address;
      } else if (slot.of == AddressSlot::Of::function) {
        value = program_->function_base + slot.index * kFunctionStride;
      } else {
        continue;
      }
      value += static_cast<std::uint64_t>(slot.addend);
      for (std::uint32_t lane = 0; lane < kLanes; ++lane) {
        std::memcpy(function.image.data() + slot.slot + lane * slot.bytes, &value, slot.bytes);
      }
    }
  }
  for (const auto& pool : program_->pools) {
    const std::lock_guard lock(pool->mutex);
    pool->idle.clear();
  }
  program_->ready = true;
  return {};
}

}  // namespace phos::sim::ptx
