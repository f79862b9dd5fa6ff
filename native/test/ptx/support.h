// SPDX-License-Identifier: Apache-2.0
// A device for tests: memory at made-up addresses, one module, launches run to their end.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "memory/address_space.h"
#include "ptx/execution.h"
#include "ptx/module.h"

namespace phos::sim::ptx::test {

class Sink : public Services {
 public:
  explicit Sink(AddressSpace& memory) : memory_(memory) {}
  void print(std::string_view text) override { printed += text; }
  void assertion_failed(std::string_view line) override { assertions.emplace_back(line); }
  std::uint64_t allocate(std::uint64_t bytes) override;
  void release(std::uint64_t address) override;
  std::uint64_t time_ns() override { return ++ticks * 1000; }

  std::string printed;
  std::vector<std::string> assertions;
  std::uint64_t ticks = 0;
  std::size_t live_allocations = 0;

 private:
  AddressSpace& memory_;
  std::uint64_t next_ = 0x20f000000000;
  std::vector<std::unique_ptr<std::vector<std::byte>>> heap_;
};

// Values packed as a kernel's parameter buffer.
class Arguments {
 public:
  template <class... T>
  explicit Arguments(T... values) { (add(values), ...); }
  template <class T>
  void add(T value) {
    const std::size_t at = (bytes_.size() + alignof(T) - 1) / alignof(T) * alignof(T);
    bytes_.resize(at + sizeof(T));
    std::memcpy(bytes_.data() + at, &value, sizeof value);
  }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

class Device {
 public:
  Device() : sink(memory) {}

  // Fails the test, and leaves no module, if the text is refused.
  bool load(std::string_view ptx);
  std::uint64_t allocate(std::size_t bytes, std::uint32_t flags = kExtentNone);
  std::byte* host(std::uint64_t address);

  template <class T>
  std::uint64_t upload(const std::vector<T>& values) {
    const std::uint64_t address = allocate(values.size() * sizeof(T));
    std::memcpy(host(address), values.data(), values.size() * sizeof(T));
    return address;
  }
  template <class T>
  std::vector<T> download(std::uint64_t address, std::size_t count) {
    std::vector<T> values(count);
    std::memcpy(values.data(), host(address), count * sizeof(T));
    return values;
  }

  std::unique_ptr<Execution> start(std::string_view kernel, const LaunchConfig& config);
  // Runs to the end; the fault, or one with error 0.
  Fault run(std::string_view kernel, Dim3 grid, Dim3 block, const Arguments& arguments,
            LaunchConfig config = {}, std::uint64_t quantum = 1 << 20);

  AddressSpace memory;
  Sink sink;
  std::unique_ptr<Module> module;
  std::uint64_t instructions = 0;  // of the last run

 private:
  std::uint64_t next_ = 0x200000000000;
  std::vector<std::unique_ptr<std::vector<std::byte>>> blocks_;
};

// A whole module around the body of one kernel, with the registers that most tests need.
std::string kernel_text(std::string_view name, std::string_view parameters, std::string_view body);

}  // namespace phos::sim::ptx::test
