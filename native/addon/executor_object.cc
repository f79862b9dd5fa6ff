// SPDX-License-Identifier: Apache-2.0
#include "addon/executor_object.h"

#include <sys/mman.h>

#include <climits>
#include <cstring>
#include <map>
#include <mutex>

#include "addon/async_call.h"
#include "addon/convert.h"
#include "addon/image_options.h"
#include "drivers/cuda/driver.h"
#include "drivers/sim/sim.h"
#include "executor/failure.h"

namespace phos::addon {

namespace {

using namespace executor;

// The worker thread that drains is another JavaScript environment of the same process, so it finds
// its executor by number. Leaked, with every executor that was not closed at rest: their threads
// may be inside the driver, and waiting for that could hang the process's end.
struct Registry {
  std::mutex mutex;
  std::map<std::uint64_t, std::shared_ptr<Executor>> executors;  // null: closed
  std::uint64_t next = 1;
};

Registry& registry() {
  static auto* const instance = new Registry;
  return *instance;
}

std::shared_ptr<Executor> find_executor(std::uint64_t key) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  const auto found = all.executors.find(key);
  if (found == all.executors.end()) {
    throw Failure(Code::not_found, "There is no executor of that number in this process.");
  }
  return found->second;
}

void load_driver(const std::string& name, DriverTable& table) {
  fill_unsupported(table);
  if (name == "sim") {
    if (!sim::fill_driver_table(table)) {
      throw Failure(Code::usage, "A setting of the sim device is malformed; see PHOS_SIM_*.");
    }
  } else if (name == "cuda") {
    const cuda::LoadOutcome outcome = cuda::fill_driver_table(table);
    if (!outcome.ok) throw Failure(Code::unavailable, outcome.message);
  } else {
    throw Failure(Code::usage, "There is no driver named " + name + "; use sim or cuda.");
  }
}

SaveMode mode_of(const std::string& name) {
  for (const SaveMode mode :
       {SaveMode::stop, SaveMode::snapshot, SaveMode::cow, SaveMode::automatic}) {
    if (name == name_of(mode)) return mode;
  }
  throw Failure(Code::usage,
                "There is no mode " + name + "; use stop, snapshot, cow or auto.");
}

Napi::Value drain(const Napi::CallbackInfo& info) {
  const std::uint64_t key = bigint_at(info, 0);
  const auto slice = static_cast<std::uint32_t>(integer_at(info, 1, 0, INT_MAX));
  return guarded(info.Env(), [&] {
    const auto executor = find_executor(key);
    return to_js(info.Env(), executor ? executor->run(slice) : DrainResult{});
  });
}

Napi::Value stop_all(const Napi::CallbackInfo& info) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  for (const auto& [key, executor] : all.executors) {
    if (executor) executor->finish();
  }
  return info.Env().Undefined();
}

}  // namespace

Napi::Function ExecutorObject::define(Napi::Env env) {
  using Object = ExecutorObject;
  return DefineClass(
      env, "Executor",
      {InstanceMethod("key", &Object::key), InstanceMethod("start", &Object::start),
       InstanceMethod("expectClient", &Object::expect_client),
       InstanceMethod("ringBytes", &Object::ring_bytes),
       InstanceMethod("mapRing", &Object::map_ring), InstanceMethod("stop", &Object::stop),
       InstanceMethod("closeGate", &Object::close_gate),
       InstanceMethod("openGate", &Object::open_gate),
       InstanceMethod("readHead", &Object::read_head),
       InstanceMethod("drainTo", &Object::drain_to),
       InstanceMethod("disconnectAgent", &Object::disconnect_agent),
       InstanceMethod("explain", &Object::explain), InstanceMethod("save", &Object::save),
       InstanceMethod("saveBegin", &Object::save_begin),
       InstanceMethod("saveFinish", &Object::save_finish),
       InstanceMethod("savePrepare", &Object::save_prepare),
       InstanceMethod("saveAbort", &Object::save_abort),
       InstanceMethod("load", &Object::load), InstanceMethod("suspend", &Object::suspend),
       InstanceMethod("resume", &Object::resume), InstanceMethod("status", &Object::status),
       InstanceMethod("close", &Object::close)});
}

ExecutorObject::ExecutorObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<ExecutorObject>(info) {
  ExecutorOptions options;
  options.driver_name = text_at(info, 0);
  options.ordinal = static_cast<int>(integer_at(info, 1, 0, 255));
  text_at(info, 2);  // the runtime folder: what lies in it is passed as paths
  options.id = text_at(info, 3);
  options.ring_socket_path = text_at(info, 4);
  options.memory_limit = bigint_at(info, 5);
  const Napi::Function on_event = function_at(info, 6);
  guarded(info.Env(), [&] { load_driver(options.driver_name, options.driver); });
  events_ = std::make_shared<EventChannel>(info.Env(), on_event, "executor");
  executor_ = std::make_shared<Executor>(options, [channel = events_](const ExecutorEvent& event) {
    channel->post([event](Napi::Env env, Napi::Function callback) {
      callback.Call({to_js(env, event)});
    });
  });
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  key_ = all.next++;
  all.executors.emplace(key_, executor_);
}

ExecutorObject::~ExecutorObject() {
  if (executor_) executor_->close();
  if (events_) events_->close();
}

std::shared_ptr<Executor> ExecutorObject::live(Napi::Env env) {
  return guarded(env, [&] {
    if (!executor_) throw Failure(Code::conflict, "The executor is closed.");
    return executor_;
  });
}

Napi::Value ExecutorObject::key(const Napi::CallbackInfo& info) { return big(info.Env(), key_); }

Napi::Value ExecutorObject::start(const Napi::CallbackInfo& info) {
  const auto executor = live(info.Env());
  return guarded(info.Env(), [&] { return to_js(info.Env(), executor->start()); });
}

Napi::Value ExecutorObject::expect_client(const Napi::CallbackInfo& info) {
  const auto executor = live(info.Env());
  ExpectedClient client;
  hex_at(info, 0, client.client_id);
  hex_at(info, 1, client.token);
  client.pid = static_cast<std::uint32_t>(integer_at(info, 2, 0, INT_MAX));
  client.uid = static_cast<std::uint32_t>(integer_at(info, 3, 0, UINT_MAX));
  array_at(info, 4);
  return guarded(info.Env(), [&]() -> Napi::Value {
    executor->expect(client);
    return info.Env().Undefined();
  });
}

Napi::Value ExecutorObject::ring_bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(live(info.Env())->ring_bytes()));
}

// Puts the ring's pages under the page-aligned, growable SharedArrayBuffer that a view shows.
Napi::Value ExecutorObject::map_ring(const Napi::CallbackInfo& info) {
  const auto executor = live(info.Env());
  const Napi::Env env = info.Env();
  napi_typedarray_type type{};
  std::size_t length = 0;
  void* data = nullptr;
  napi_value buffer = nullptr;
  std::size_t offset = 0;
  // napi_get_typedarray_info is what Node-API 9 knows of shared buffers.
  if (!info[0].IsTypedArray() ||
      napi_get_typedarray_info(env, info[0], &type, &length, &data, &buffer, &offset) != napi_ok) {
    throw Napi::TypeError::New(env, "argument 1 must be a view of a SharedArrayBuffer");
  }
  return guarded(env, [&]() -> Napi::Value {
    const std::size_t bytes = executor->ring_bytes();
    const bool aligned = reinterpret_cast<std::uintptr_t>(data) % 4096 == 0 && offset == 0;
    if (type != napi_uint8_array || bytes == 0 || length < bytes || !aligned) {
      throw Failure(Code::conflict, "The buffer does not fit the ring, or there is no ring.");
    }
    // SAFETY: V8 owns the range and unmaps it when the buffer is collected; the memfd cannot
    // shrink; the pages that were there held nothing yet.
    void* place = ::mmap(data, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                         executor->ring_fd(), 0);
    if (place == MAP_FAILED) throw_errno(errno, "mapping", "the ring");
    return env.Undefined();
  });
}

Napi::Value ExecutorObject::stop(const Napi::CallbackInfo& info) {
  if (executor_) executor_->stop();
  return info.Env().Undefined();
}

Napi::Value ExecutorObject::close_gate(const Napi::CallbackInfo& info) {
  const auto executor = live(info.Env());
  guarded(info.Env(), [&] { executor->close_gate(); });
  return info.Env().Undefined();
}

Napi::Value ExecutorObject::open_gate(const Napi::CallbackInfo& info) {
  const auto executor = live(info.Env());
  guarded(info.Env(), [&] { executor->open_gate(); });
  return info.Env().Undefined();
}

Napi::Value ExecutorObject::read_head(const Napi::CallbackInfo& info) {
  const auto executor = live(info.Env());
  return guarded(info.Env(), [&] { return big(info.Env(), executor->read_head()); });
}

Napi::Value ExecutorObject::drain_to(const Napi::CallbackInfo& info) {
  const auto executor = live(info.Env());
  const std::uint64_t cut = bigint_at(info, 0);
  const auto deadline = static_cast<std::uint32_t>(integer_at(info, 1, 1, INT_MAX));
  return call_async(info.Env(), [executor, cut, deadline]() -> Conversion {
    const DrainToResult result = executor->drain_to(cut, deadline);
    return [result](Napi::Env env) { return to_js(env, result); };
  });
}

Napi::Value ExecutorObject::disconnect_agent(const Napi::CallbackInfo& info) {
  const auto executor = live(info.Env());
  const auto deadline = static_cast<std::uint32_t>(integer_at(info, 0, 1, INT_MAX));
  return call_async(info.Env(), [executor, deadline]() -> Conversion {
    executor->disconnect_agent(deadline);
    return [](Napi::Env env) { return env.Undefined(); };
  });
}

Napi::Value ExecutorObject::explain(const Napi::CallbackInfo& info) {
  const auto executor = live(info.Env());
  return guarded(info.Env(), [&] { return to_js(info.Env(), executor->explain()); });
}

Napi::Value ExecutorObject::save(const Napi::CallbackInfo& info) {
  const auto executor = live(info.Env());
  const std::string directory = text_at(info, 0);
  const executor::WriteOptions options = write_options_at(info, 1);
  const Progress progress = make_progress(info.Env(), function_at(info, 2));
  return call_async(info.Env(), [executor, directory, options, progress]() -> Conversion {
    const SaveReport result = executor->save(directory, options, progress);
    return [result](Napi::Env env) { return to_js(env, result); };
  });
}

Napi::Value ExecutorObject::save_begin(const Napi::CallbackInfo& info) {
  const auto executor = live(info.Env());
  SaveOptions options;
  options.directory = text_at(info, 0);
  options.image = write_options_at(info, 1);
  const std::string mode = text_at(info, 2);
  options.open_gate = boolean_at(info, 3);
  options.deadline_ms = static_cast<std::uint32_t>(integer_at(info, 4, 1, INT_MAX));
  return call_async(info.Env(), [executor, options, mode]() mutable -> Conversion {
    options.mode = mode_of(mode);
    const SaveBegun begun = executor->save_begin(options);
    return [begun](Napi::Env env) { return to_js(env, begun); };
  });
}

Napi::Value ExecutorObject::save_finish(const Napi::CallbackInfo& info) {
  const auto executor = live(info.Env());
  const Progress progress = make_progress(info.Env(), function_at(info, 0));
  return call_async(info.Env(), [executor, progress]() -> Conversion {
    const SaveReport report = executor->save_finish(progress);
    return [report](Napi::Env env) { return to_js(env, report); };
  });
}

Napi::Value ExecutorObject::save_prepare(const Napi::CallbackInfo& info) {
  const auto executor = live(info.Env());
  const std::string mode = text_at(info, 0);
  return call_async(info.Env(), [executor, mode]() -> Conversion {
    const std::uint64_t bytes = executor->save_prepare(mode_of(mode));
    return [bytes](Napi::Env env) -> Napi::Value { return Napi::BigInt::New(env, bytes); };
  });
}

Napi::Value ExecutorObject::save_abort(const Napi::CallbackInfo& info) {
  const auto executor = live(info.Env());
  return call_async(info.Env(), [executor]() -> Conversion {
    executor->save_abort();
    return [](Napi::Env env) { return env.Undefined(); };
  });
}

Napi::Value ExecutorObject::load(const Napi::CallbackInfo& info) {
  const auto executor = live(info.Env());
  const std::string directory = text_at(info, 0);
  const executor::ReadOptions options = read_options_at(info, 1);
  const Progress progress = make_progress(info.Env(), function_at(info, 2));
  return call_async(info.Env(), [executor, directory, options, progress]() -> Conversion {
    const LoadResult result = executor->load(directory, options, progress);
    return [result](Napi::Env env) { return to_js(env, result); };
  });
}

Napi::Value ExecutorObject::suspend(const Napi::CallbackInfo& info) {
  const auto executor = live(info.Env());
  const Progress progress = make_progress(info.Env(), function_at(info, 0));
  return call_async(info.Env(), [executor, progress]() -> Conversion {
    const SuspendResult result = executor->suspend(progress);
    return [result](Napi::Env env) { return to_js(env, result); };
  });
}

Napi::Value ExecutorObject::resume(const Napi::CallbackInfo& info) {
  const auto executor = live(info.Env());
  const Progress progress = make_progress(info.Env(), function_at(info, 0));
  return call_async(info.Env(), [executor, progress]() -> Conversion {
    const SuspendResult result = executor->resume(progress);
    return [result](Napi::Env env) { return to_js(env, result); };
  });
}

Napi::Value ExecutorObject::status(const Napi::CallbackInfo& info) {
  const auto executor = live(info.Env());
  return guarded(info.Env(), [&] { return to_js(info.Env(), executor->status()); });
}

Napi::Value ExecutorObject::close(const Napi::CallbackInfo& info) {
  if (executor_) {
    executor_->close();
    if (executor_->is_quiet()) {
      Registry& all = registry();
      const std::lock_guard lock(all.mutex);
      all.executors[key_] = nullptr;
    }
  }
  if (events_) events_->close();
  // The last one that lets go destroys it: here, or the worker whose drain comes back.
  executor_.reset();
  return info.Env().Undefined();
}

void export_executor(Napi::Env env, Napi::Object exports) {
  exports.Set("Executor", ExecutorObject::define(env));
  exports.Set("drain", Napi::Function::New(env, drain, "drain"));
  exports.Set("stopAll", Napi::Function::New(env, stop_all, "stopAll"));
}

}  // namespace phos::addon
