// SPDX-License-Identifier: Apache-2.0
#include "addon/event_channel.h"

#include <utility>

namespace phos::addon {

EventChannel::EventChannel(Napi::Env env, Napi::Function callback, const char* name)
    : function_(Napi::ThreadSafeFunction::New(env, callback, name, 0, 1)) {
  function_.Unref(env);
}

void EventChannel::post(Delivery delivery) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  auto* owned = new Delivery(std::move(delivery));
  const napi_status status =
      function_.NonBlockingCall(owned, [](Napi::Env env, Napi::Function callback, Delivery* call) {
        const std::unique_ptr<Delivery> holder(call);
        // No environment any more: it is ending.
        if (static_cast<napi_env>(env) != nullptr && !callback.IsEmpty()) (*call)(env, callback);
      });
  if (status != napi_ok) delete owned;
}

void EventChannel::close() {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  closed_ = true;
  function_.Release();
}

}  // namespace phos::addon
