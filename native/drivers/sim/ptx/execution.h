// SPDX-License-Identifier: Apache-2.0
// One launch of a kernel. It advances only in step(), so the driver can interleave kernels at any
// granularity; given the same steps and memory it does the same every time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "diagnostic.h"
#include "module.h"

namespace phos::sim {
class AddressSpace;
}

namespace phos::sim::ptx {

// What kernels ask of the driver. Called from step(), on its thread.
class Services {
 public:
  virtual ~Services() = default;
  // Text of one printf call of one thread, formatted.
  virtual void print(std::string_view text) = 0;
  // A device assertion that failed, as one line in the words of the CUDA runtime. The kernel is
  // then stopped with error 710.
  virtual void assertion_failed(std::string_view line) = 0;
  // Device-side malloc and free: memory that is in the address space before the call returns; 0 if
  // the heap is full. release() gets only what allocate() gave, or what the program made up.
  virtual std::uint64_t allocate(std::uint64_t bytes) = 0;
  virtual void release(std::uint64_t address) = 0;
  // Nanoseconds for %globaltimer.
  virtual std::uint64_t time_ns() = 0;
};

struct LaunchConfig {
  Dim3 grid;
  Dim3 block;
  std::uint32_t dynamic_shared_bytes = 0;
  std::span<const std::byte> parameters;  // the whole parameter buffer; copied
  bool cooperative = false;               // all blocks are resident at once
  std::uint64_t grid_id = 1;              // %gridid
  std::uint64_t order_seed = 0;           // 0: blocks start in order; else a seeded permutation
  std::uint32_t stack_bytes = 16384;      // local memory per thread (cudaLimitStackSize and frames)
  std::uint32_t multiprocessors = 16;     // %nsmid
};

enum class Step : std::uint8_t {
  running,  // the quantum is used up, or every resident thread polls; call again
  done,
  fault,    // see fault(); step() must not be called again
};

struct Counters {
  std::uint64_t warp_instructions = 0;
  std::uint64_t blocks_done = 0;
};

class Execution {
 public:
  // The module must be initialised and outlive this; so must the address space and the services.
  // The driver has checked launch limits; what would make the engine unsafe is checked here
  // again and answered by null (empty grid or block, more than 1024 threads, parameter buffer
  // shorter than the kernel's, or an unknown kernel).
  static std::unique_ptr<Execution> create(const Module& module, std::uint32_t kernel,
                                           AddressSpace& memory, Services& services,
                                           const LaunchConfig& config);
  virtual ~Execution() = default;

  // Runs about this many warp instructions.
  virtual Step step(std::uint64_t quantum_instructions) = 0;
  virtual const Fault& fault() const noexcept = 0;
  virtual Counters counters() const noexcept = 0;
};

// Which build of the instruction handlers runs: chosen by cpuid, or forced by tests.
enum class Isa : std::uint8_t { baseline, v3 };
Isa active_isa() noexcept;
// False if this processor lacks it. Holds for modules loaded afterwards.
bool force_isa(Isa isa) noexcept;

}  // namespace phos::sim::ptx
