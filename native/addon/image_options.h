// SPDX-License-Identifier: Apache-2.0
// How an image is written and read, from the plain objects that src/native/addon.ts describes.
#pragma once

#include <napi.h>

#include "executor/image.h"

namespace phos::addon {

// {parent: string | null, lanes, compress, content, share, donors: string[], key: Buffer | null}
executor::WriteOptions write_options_at(const Napi::CallbackInfo& info, std::size_t index);
// {lanes, content, key: Buffer | null}
executor::ReadOptions read_options_at(const Napi::CallbackInfo& info, std::size_t index);

}  // namespace phos::addon
