// SPDX-License-Identifier: Apache-2.0
// Native work that a promise stands for: on a thread of libuv's pool, with progress.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>

#include "executor/image.h"

namespace phos::addon {

// Runs on the JavaScript thread and makes the promise's value.
using Conversion = std::function<Napi::Value(Napi::Env)>;
// Runs on a pool thread; what it throws rejects the promise.
using Work = std::function<Conversion()>;

Napi::Promise call_async(Napi::Env env, Work work);

// Tells `callback(doneBytes, totalBytes)` at most every 50 ms, and at the end. Callable anywhere.
executor::Progress make_progress(Napi::Env env, Napi::Function callback);

}  // namespace phos::addon
