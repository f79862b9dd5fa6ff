// SPDX-License-Identifier: Apache-2.0
#include "support.h"

namespace phos::sim::ptx::test {

std::uint64_t Sink::allocate(std::uint64_t bytes) {
  heap_.push_back(std::make_unique<std::vector<std::byte>>(bytes + 64));
  const std::uint64_t address = next_;
  next_ += (bytes + 511) / 256 * 256;
  if (!memory_.add({address, bytes, heap_.back()->data(), kExtentNone})) {
    return 0;
  }
  ++live_allocations;
  return address;
}

void Sink::release(std::uint64_t address) {
  live_allocations -= memory_.remove(address) ? 1 : 0;
}

bool Device::load(std::string_view ptx) {
  Module::Loaded loaded = Module::load(ptx);
  if (loaded.module == nullptr) {
    ADD_FAILURE() << loaded.diagnostic.message;
    return false;
  }
  module = std::move(loaded.module);
  for (std::uint32_t i = 0; i < module->variables().size(); ++i) {
    const std::uint64_t bytes = module->variables()[i].bytes;
    if (bytes != 0) {
      module->bind(i, allocate(bytes));
    }
  }
  const Diagnostic diagnostic = module->initialise(memory);
  EXPECT_TRUE(diagnostic.ok()) << diagnostic.message;
  return diagnostic.ok();
}

std::uint64_t Device::allocate(std::size_t bytes, std::uint32_t flags) {
  blocks_.push_back(std::make_unique<std::vector<std::byte>>(bytes + 64));
  // Aligned, so that vector accesses and atomics are as they would be on a device.
  auto* start = blocks_.back()->data();
  start += (64 - reinterpret_cast<std::uintptr_t>(start) % 64) % 64;
  const std::uint64_t address = next_;
  next_ += (bytes + 511 + 256) / 256 * 256;
  EXPECT_TRUE(memory.add({address, bytes, start, flags}));
  return address;
}

std::byte* Device::host(std::uint64_t address) { return memory.resolve(address, 1); }

std::unique_ptr<Execution> Device::start(std::string_view kernel, const LaunchConfig& config) {
  const auto index = module->find_kernel(kernel);
  if (!index) {
    ADD_FAILURE() << "no kernel " << kernel;
    return nullptr;
  }
  auto execution = Execution::create(*module, *index, memory, sink, config);
  EXPECT_NE(execution, nullptr);
  return execution;
}

Fault Device::run(std::string_view kernel, Dim3 grid, Dim3 block, const Arguments& arguments,
                  LaunchConfig config, std::uint64_t quantum) {
  config.grid = grid;
  config.block = block;
  config.parameters = arguments.bytes();
  const auto execution = start(kernel, config);
  if (execution == nullptr) {
    return {};
  }
  Step step = Step::running;
  // A kernel of a test that needs more than this hangs.
  for (int rounds = 0; step == Step::running && rounds < 4000; ++rounds) {
    step = execution->step(quantum);
  }
  EXPECT_NE(step, Step::running) << kernel << " does not end";
  instructions = execution->counters().warp_instructions;
  return step == Step::fault ? execution->fault() : Fault{};
}

std::string kernel_text(std::string_view name, std::string_view parameters,
                        std::string_view body) {
  std::string text = ".version 9.0\n.target sm_86\n.address_size 64\n.visible .entry ";
  text += name;
  text += "(";
  text += parameters;
  text += ")\n{\n.reg .pred %p<16>;\n.reg .b16 %h<32>;\n.reg .b32 %r<64>;\n.reg .f32 %f<32>;\n"
          ".reg .b64 %rd<32>;\n.reg .f64 %fd<32>;\n";
  text += body;
  text += "\n}\n";
  return text;
}

}  // namespace phos::sim::ptx::test
