// SPDX-License-Identifier: Apache-2.0
// How much of an untrusted image this library is willing to look at.
#pragma once

#include <cstddef>
#include <cstdint>

namespace phos::code_images {

inline constexpr std::uint64_t kMaxImageBytes = 4ULL << 30;   // one image, as stored
inline constexpr std::size_t kMaxPlainBytes = 1ULL << 30;     // one entry, decompressed
inline constexpr std::size_t kMaxPtxTextBytes = 256ULL << 20; // NUL-terminated text in memory
inline constexpr std::size_t kMaxEntries = 4096;              // entries of one fatbin
inline constexpr std::size_t kMaxParts = 4096;                // fatbins behind one -rdc wrapper
inline constexpr std::size_t kMaxParameters = 4096;           // of one kernel
inline constexpr std::uint32_t kMaxParameterBytes = 32764;    // of one kernel, as CUDA 12.1 and up
inline constexpr std::size_t kMaxSymbols = 4U << 20;          // kernels or variables of one image

}  // namespace phos::code_images
