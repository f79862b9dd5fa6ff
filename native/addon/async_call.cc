// SPDX-License-Identifier: Apache-2.0
#include "addon/async_call.h"

#include <atomic>
#include <chrono>
#include <exception>
#include <utility>

#include "addon/convert.h"
#include "addon/event_channel.h"

namespace phos::addon {

namespace {

class PromiseWorker : public Napi::AsyncWorker {
 public:
  PromiseWorker(Napi::Env env, Work work)
      : Napi::AsyncWorker(env, "phos"),
        deferred_(Napi::Promise::Deferred::New(env)),
        work_(std::move(work)) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

  void Execute() override {
    try {
      convert_ = work_();
    } catch (...) {
      thrown_ = std::current_exception();
    }
  }

  void OnOK() override {
    Napi::Env env = Env();
    // Whatever the work holds is released before the promise settles.
    work_ = nullptr;
    if (!thrown_) {
      deferred_.Resolve(convert_(env));
      return;
    }
    try {
      std::rethrow_exception(thrown_);
    } catch (const std::exception& thrown) {
      deferred_.Reject(error_of(env, thrown).Value());
    }
  }

 private:
  Napi::Promise::Deferred deferred_;
  Work work_;
  Conversion convert_;
  std::exception_ptr thrown_;
};

struct ProgressState {
  ProgressState(Napi::Env env, Napi::Function callback) : channel(env, callback, "progress") {}
  EventChannel channel;
  std::atomic<std::int64_t> next_ms{0};
};

}  // namespace

Napi::Promise call_async(Napi::Env env, Work work) {
  auto* worker = new PromiseWorker(env, std::move(work));
  const Napi::Promise promise = worker->promise();
  worker->Queue();  // deletes itself
  return promise;
}

executor::Progress make_progress(Napi::Env env, Napi::Function callback) {
  auto state = std::make_shared<ProgressState>(env, callback);
  return [state](std::uint64_t done, std::uint64_t total) {
    const std::int64_t now = std::chrono::duration_cast<std::chrono::milliseconds>(
                                 std::chrono::steady_clock::now().time_since_epoch())
                                 .count();
    std::int64_t due = state->next_ms.load();
    if (done != total && (now < due || !state->next_ms.compare_exchange_strong(due, now + 50))) {
      return;
    }
    state->channel.post([done, total](Napi::Env target, Napi::Function function) {
      function.Call({big(target, done), big(target, total)});
    });
  };
}

}  // namespace phos::addon
