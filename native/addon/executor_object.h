// SPDX-License-Identifier: Apache-2.0
// The class Executor of the addon, and drain() for another thread of the process.
#pragma once

#include <napi.h>

#include <memory>

#include "addon/event_channel.h"
#include "executor/executor.h"

namespace phos::addon {

class ExecutorObject : public Napi::ObjectWrap<ExecutorObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit ExecutorObject(const Napi::CallbackInfo& info);
  ~ExecutorObject() override;

 private:
  Napi::Value key(const Napi::CallbackInfo& info);
  Napi::Value start(const Napi::CallbackInfo& info);
  Napi::Value expect_client(const Napi::CallbackInfo& info);
  Napi::Value ring_bytes(const Napi::CallbackInfo& info);
  Napi::Value map_ring(const Napi::CallbackInfo& info);
  Napi::Value stop(const Napi::CallbackInfo& info);
  Napi::Value close_gate(const Napi::CallbackInfo& info);
  Napi::Value open_gate(const Napi::CallbackInfo& info);
  Napi::Value read_head(const Napi::CallbackInfo& info);
  Napi::Value drain_to(const Napi::CallbackInfo& info);
  Napi::Value disconnect_agent(const Napi::CallbackInfo& info);
  Napi::Value explain(const Napi::CallbackInfo& info);
  Napi::Value save(const Napi::CallbackInfo& info);
  Napi::Value save_begin(const Napi::CallbackInfo& info);
  Napi::Value save_finish(const Napi::CallbackInfo& info);
  Napi::Value save_prepare(const Napi::CallbackInfo& info);
  Napi::Value save_abort(const Napi::CallbackInfo& info);
  Napi::Value load(const Napi::CallbackInfo& info);
  Napi::Value suspend(const Napi::CallbackInfo& info);
  Napi::Value resume(const Napi::CallbackInfo& info);
  Napi::Value status(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  // The executor, or CONFLICT after close().
  std::shared_ptr<executor::Executor> live(Napi::Env env);

  std::uint64_t key_ = 0;
  std::shared_ptr<EventChannel> events_;
  std::shared_ptr<executor::Executor> executor_;
};

void export_executor(Napi::Env env, Napi::Object exports);

}  // namespace phos::addon
