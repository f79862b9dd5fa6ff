// SPDX-License-Identifier: Apache-2.0
// phos.node. What it exports is written down in src/native/addon.ts, in this order. Classes hold
// their state; nothing here belongs to one environment and outlives it.
#include <napi.h>

#include "addon/async_call.h"
#include "addon/attach_server.h"
#include "addon/convert.h"
#include "addon/executor_object.h"
#include "addon/image_options.h"
#include "addon/process.h"
#include "executor/fault.h"
#include "executor/image.h"

namespace phos::addon {

namespace {

Napi::Value verify_image(const Napi::CallbackInfo& info) {
  const std::string directory = text_at(info, 0);
  const executor::ReadOptions options = read_options_at(info, 1);
  const executor::Progress progress = make_progress(info.Env(), function_at(info, 2));
  return call_async(info.Env(), [directory, options, progress]() -> Conversion {
    const executor::VerifyResult result = executor::verify_image(directory, options, progress);
    return [result](Napi::Env env) { return to_js(env, result); };
  });
}

Napi::Value compact_image(const Napi::CallbackInfo& info) {
  const std::string from = text_at(info, 0);
  const std::string to = text_at(info, 1);
  const executor::WriteOptions options = write_options_at(info, 2);
  const executor::Progress progress = make_progress(info.Env(), function_at(info, 3));
  return call_async(info.Env(), [from, to, options, progress]() -> Conversion {
    const executor::SaveResult result = executor::compact_image(from, to, options, progress);
    return [result](Napi::Env env) {
      Napi::Object object = Napi::Object::New(env);
      object.Set("deviceBytes", big(env, result.device_bytes));
      object.Set("writtenBytes", big(env, result.written_bytes));
      return object;
    };
  });
}

Napi::Value fault_point(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), executor::fault_point(text_at(info, 0).c_str()));
}

}  // namespace

}  // namespace phos::addon

static Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  using namespace phos::addon;
  export_process(env, exports);
  exports.Set("AttachServer", AttachServer::define(env));
  export_executor(env, exports);
  exports.Set("verifyImage", Napi::Function::New(env, verify_image, "verifyImage"));
  exports.Set("compactImage", Napi::Function::New(env, compact_image, "compactImage"));
  exports.Set("faultPoint", Napi::Function::New(env, phos::addon::fault_point, "faultPoint"));
  return exports;
}

NODE_API_MODULE(phos, initialise)
