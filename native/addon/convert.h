// SPDX-License-Identifier: Apache-2.0
// Between JavaScript values and plain C++ ones. Arguments were validated in src/native; here they
// are checked again, because a wrong one must throw, not crash.
#pragma once

#include <napi.h>

#include <cstdint>
#include <exception>
#include <string>

#include "executor/executor.h"
#include "executor/seqpacket.h"

namespace phos::addon {

// Makes the JavaScript error of whatever was thrown: Failures carry phosCode, phosRetryable and
// phosDetails, which src/native/native-error.ts turns into PhosError.
Napi::Error error_of(Napi::Env env, const std::exception& thrown);

// Runs `call` and rethrows C++ exceptions as JavaScript errors.
template <class Call>
auto guarded(Napi::Env env, const Call& call) -> decltype(call()) {
  try {
    return call();
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::exception& thrown) {
    throw error_of(env, thrown);
  }
}

std::string text_at(const Napi::CallbackInfo& info, std::size_t index);
// A string or null; null gives "".
std::string text_or_empty_at(const Napi::CallbackInfo& info, std::size_t index);
std::int64_t integer_at(const Napi::CallbackInfo& info, std::size_t index, std::int64_t least,
                        std::int64_t most);
std::uint64_t bigint_at(const Napi::CallbackInfo& info, std::size_t index);
Napi::Function function_at(const Napi::CallbackInfo& info, std::size_t index);
Napi::Array array_at(const Napi::CallbackInfo& info, std::size_t index);
bool boolean_at(const Napi::CallbackInfo& info, std::size_t index);
void hex_at(const Napi::CallbackInfo& info, std::size_t index, std::uint8_t (&out)[16]);

Napi::Value big(Napi::Env env, std::uint64_t value);
Napi::Value text_or_null(Napi::Env env, const std::string& text);
Napi::Object to_js(Napi::Env env, const executor::Peer& peer);
Napi::Object to_js(Napi::Env env, const executor::DeviceFacts& facts);
Napi::Object to_js(Napi::Env env, const executor::ExecutorStatus& status);
Napi::Object to_js(Napi::Env env, const executor::ExecutorEvent& event);
Napi::Object to_js(Napi::Env env, const executor::DrainResult& result);
Napi::Object to_js(Napi::Env env, const executor::DrainToResult& result);
Napi::Object to_js(Napi::Env env, const executor::SaveBegun& begun);
Napi::Object to_js(Napi::Env env, const executor::SaveReport& report);
Napi::Object to_js(Napi::Env env, const executor::LoadResult& result);
Napi::Object to_js(Napi::Env env, const executor::SuspendResult& result);
Napi::Object to_js(Napi::Env env, const executor::VerifyResult& result);
Napi::Array to_js(Napi::Env env, const std::vector<executor::ObjectSummary>& objects);

}  // namespace phos::addon
