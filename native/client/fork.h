// SPDX-License-Identifier: Apache-2.0
// A fork after cuInit: the child gets CUDA's own answer (not initialised), never its parent's ring.
#pragma once

namespace phos::client {

// Registers the handlers, once. Called when the client attaches, so that a program that never uses
// CUDA pays nothing.
void watch_forks() noexcept;

}  // namespace phos::client
