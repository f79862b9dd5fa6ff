// SPDX-License-Identifier: Apache-2.0
// Calls from native threads to one JavaScript function. Never keeps the process alive, and a call
// after close(), or while the environment ends, is dropped.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <mutex>

namespace phos::addon {

class EventChannel {
 public:
  // What is called on the JavaScript thread, with the function.
  using Delivery = std::function<void(Napi::Env, Napi::Function)>;

  EventChannel(Napi::Env env, Napi::Function callback, const char* name);
  ~EventChannel() { close(); }
  EventChannel(const EventChannel&) = delete;
  EventChannel& operator=(const EventChannel&) = delete;

  void post(Delivery delivery);
  void close();

 private:
  std::mutex mutex_;
  Napi::ThreadSafeFunction function_;
  bool closed_ = false;
};

}  // namespace phos::addon
