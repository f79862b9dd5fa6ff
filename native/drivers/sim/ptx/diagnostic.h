// SPDX-License-Identifier: Apache-2.0
// What the PTX engine says when it refuses a module or stops a kernel. Codes are CUresult values.
#pragma once

#include <cstdint>
#include <string>

namespace phos::sim::ptx {

inline constexpr int kErrorInvalidImage = 200;
inline constexpr int kErrorNoBinary = 209;
inline constexpr int kErrorInvalidPtx = 218;
inline constexpr int kErrorIllegalAddress = 700;
inline constexpr int kErrorLaunchTimeout = 702;
inline constexpr int kErrorAssert = 710;
inline constexpr int kErrorIllegalInstruction = 715;
inline constexpr int kErrorMisalignedAddress = 716;
inline constexpr int kErrorInvalidAddressSpace = 717;
inline constexpr int kErrorInvalidPc = 718;
inline constexpr int kErrorLaunchFailed = 719;

struct Dim3 {
  std::uint32_t x = 1;
  std::uint32_t y = 1;
  std::uint32_t z = 1;

  constexpr std::uint64_t count() const noexcept {
    return std::uint64_t{x} * y * z;
  }
  friend constexpr bool operator==(const Dim3&, const Dim3&) = default;
};

// Why a module was refused.
struct Diagnostic {
  int cuda_error = 0;       // 0: nothing is wrong
  std::uint32_t line = 0;   // of the PTX text, counted from 1; 0 if no line is to blame
  std::string opcode;       // the whole opcode with its modifiers; empty if none is to blame
  std::string message;      // one sentence, with line and opcode in it

  bool ok() const noexcept { return cuda_error == 0; }
};

// Why a kernel was stopped. The context is lost, as on hardware.
struct Fault {
  int cuda_error = 0;
  std::string kernel;
  std::string function;     // the device function, where it is not the kernel itself
  Dim3 block{0, 0, 0};
  Dim3 thread{0, 0, 0};
  std::string opcode;
  std::uint32_t line = 0;
  std::uint64_t address = 0;  // generic address, where an address is to blame
  std::string reason;

  // One sentence for people that holds all of the above.
  std::string text() const;
};

}  // namespace phos::sim::ptx
