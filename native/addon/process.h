// SPDX-License-Identifier: Apache-2.0
// Processes: who is connected, who is alive, and becoming another user.
#pragma once

#include <napi.h>

namespace phos::addon {

void export_process(Napi::Env env, Napi::Object exports);

}  // namespace phos::addon
