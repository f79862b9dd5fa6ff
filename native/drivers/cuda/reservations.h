// SPDX-License-Identifier: Apache-2.0
// Addresses of the driver's own reservations, the same in every executor.
//
// libcuda reserves address space with mmap() and gives what the kernel answers to the GPU as well,
// so that the addresses of module variables follow from whatever else the process has mapped. Its
// calls of mmap without an address go to a function of ours here, which takes the next address of a
// lane that nobody else uses. What a restore repeats (PlacingScope) has lanes of its own: they
// stand where they stood, however many streams, graphs and buffers the program made meanwhile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace phos::cuda {

// Between what V8 asks for (below 2^46) and the device window; lanes one after the other.
inline constexpr std::uint64_t kReservationsBase = 0x480000000000;
inline constexpr std::uint64_t kReservationLaneBytes = 0x10000000000;
inline constexpr std::uint32_t kReservationLanes = 4;

struct Redirection {
  std::size_t slots = 0;  // places in the library that name mmap and are ours now
  std::string message;    // what was done, or why nothing was
};

// Redirects the mmap calls of one loaded library. `handle` is of dlopen, which has resolved every
// symbol (RTLD_NOW). PHOS_CUDA_RESERVATIONS=kernel leaves the library as it is, =log says every
// call on stderr. Not thread-safe; the library must not be in use yet.
Redirection redirect_reservations(void* handle);

}  // namespace phos::cuda
