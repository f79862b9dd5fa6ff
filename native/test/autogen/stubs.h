// SPDX-License-Identifier: Apache-2.0
// What the generated stand-ins of bodies note.
#pragma once

#include <string>

#include "gen/client_impl.h"

struct Noted {
  std::string name;  // of the body, or of the call that was reported as unsupported
  CUstream stream;
  phos::client::StreamMode mode;
};
extern Noted g_noted;

inline CUresult note(const char* name, CUstream stream, phos::client::StreamMode mode) {
  g_noted = {name, stream, mode};
  return CUDA_SUCCESS;
}
