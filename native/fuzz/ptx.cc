// SPDX-License-Identifier: Apache-2.0
// PTX text: the reader of its declarations (client and executor), and the simulated device's
// parser, lowering and a few steps of each kernel. What a kernel does to memory that it was not
// given is a fault of the device, never one of the process.
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "code-images/ptx_scan.h"
#include "memory/address_space.h"
#include "ptx/execution.h"
#include "ptx/module.h"
#include "target.h"

namespace {

using namespace phos::sim::ptx;

constexpr std::uint64_t kMaxVariableBytes = 1U << 20;

// Memory of exactly the bytes that were asked for, and a heap that gives a little.
class Device : public Services {
 public:
  std::uint64_t allocate(std::uint64_t bytes) override {
    if (bytes == 0 || bytes > kMaxVariableBytes || blocks_.size() > 64) return 0;
    blocks_.push_back(std::make_unique<std::byte[]>(bytes));
    const std::uint64_t address = next_;
    next_ += (bytes + 511) / 256 * 256;
    const bool added = memory.add({address, bytes, blocks_.back().get(), phos::sim::kExtentNone});
    return added ? address : 0;
  }
  // The block lives on: a kernel may look at what it has freed, and must not find it.
  void release(std::uint64_t address) override { (void)memory.remove(address); }
  void print(std::string_view text) override { printed_ += text.size(); }
  void assertion_failed(std::string_view line) override { printed_ += line.size(); }
  std::uint64_t time_ns() override { return ++ticks_ * 1000; }

  phos::sim::AddressSpace memory;

 private:
  std::vector<std::unique_ptr<std::byte[]>> blocks_;
  std::uint64_t next_ = 0x200000000000;
  std::uint64_t printed_ = 0;
  std::uint64_t ticks_ = 0;
};

void run(Module& module) {
  Device device;
  std::uint64_t sum = 0;
  for (std::uint32_t v = 0; v < module.variables().size() && v < 60; ++v) {
    const std::uint64_t bytes = module.variables()[v].bytes;
    if (bytes >= kMaxVariableBytes || (sum += bytes) >= kMaxVariableBytes) return;
    if (bytes != 0) module.bind(v, device.allocate(bytes));
  }
  if (!module.initialise(device.memory).ok()) return;
  const std::uint64_t parameters[] = {device.allocate(256), 1, 2, 3};
  LaunchConfig config;
  config.block = {33, 1, 1};
  config.parameters = std::as_bytes(std::span(parameters));
  const auto kernels = static_cast<std::uint32_t>(module.kernels().size());
  for (std::uint32_t kernel = 0; kernel < kernels && kernel < 4; ++kernel) {
    if (module.kernels()[kernel].local_bytes > (64U << 10)) continue;
    const auto execution = Execution::create(module, kernel, device.memory, device, config);
    for (int steps = 0; execution != nullptr && steps < 2; ++steps) {
      if (execution->step(500) != Step::running) break;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // A string of its own, without a NUL that is part of the view.
  const std::string text(reinterpret_cast<const char*>(data), size);
  (void)phos::code_images::describe_ptx(text);
  Module::Loaded loaded = Module::load(text);
  phos::fuzz::require((loaded.module != nullptr) == loaded.diagnostic.ok(),
                      "text is refused with a reason, or loads");
  if (loaded.module != nullptr) run(*loaded.module);
  return 0;
}
