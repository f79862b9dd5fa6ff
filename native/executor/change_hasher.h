// SPDX-License-Identifier: Apache-2.0
// The change hash on the device: the kernel, loaded once when the executor starts.
//
// It is loaded before the program's first module, in every executor alike: what a driver places
// when a module is loaded (variables, function addresses) then lies where it lay when the image was
// made.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "change-hash/change_hash.h"
#include "gen/driver_table.h"
#include "phos/address_window.h"

namespace phos::executor {

class ChangeHasher {
 public:
  explicit ChangeHasher(const DriverTable& driver) : driver_(driver) {}
  ~ChangeHasher();
  ChangeHasher(const ChangeHasher&) = delete;
  ChangeHasher& operator=(const ChangeHasher&) = delete;

  // Loads the kernel; the context must be current. An answer other than success leaves the hasher
  // unavailable, and saves that need it refuse.
  CUresult load();
  bool available() const noexcept { return function_ != nullptr; }
  // Device memory for `chunks` chunks: their addresses, and room for their hashes.
  static std::uint64_t scratch_bytes(std::size_t chunks) noexcept;
  // Hashes chunks of kChunkBytes whose addresses lie in the scratch memory.
  CUresult launch(std::uint64_t scratch, std::size_t chunks, ChangeKey key, CUstream stream);
  // The hashes of chunks at these addresses, made some at a time so that other streams' work comes
  // in between; waits for them. Empty when the kernel or memory is missing. Throws DEVICE. The
  // context must be current.
  std::vector<ChangeHash> hash_all(CUdevice device, const std::vector<std::uint64_t>& chunks,
                                   ChangeKey key);
  // Where the hashes lie after launch().
  static std::uint64_t hashes_at(std::uint64_t scratch, std::size_t chunks) noexcept;

 private:
  const DriverTable& driver_;
  CUmodule module_ = nullptr;
  CUfunction function_ = nullptr;
};

// The kernel's text.
std::string change_hash_ptx();

}  // namespace phos::executor
