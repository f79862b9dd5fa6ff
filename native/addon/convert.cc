// SPDX-License-Identifier: Apache-2.0
#include "addon/convert.h"

#include <cmath>

#include "executor/digest.h"
#include "executor/failure.h"

namespace phos::addon {

using namespace executor;

namespace {

[[noreturn]] void wrong_argument(const Napi::CallbackInfo& info, std::size_t index,
                                 const char* wanted) {
  throw Napi::TypeError::New(
      info.Env(), "argument " + std::to_string(index + 1) + " must be " + wanted);
}

Napi::Number number(Napi::Env env, double value) { return Napi::Number::New(env, value); }

Napi::Number count(Napi::Env env, std::uint64_t value) {
  return Napi::Number::New(env, static_cast<double>(value));
}

const char* name_of_end(DrainEnd end) noexcept {
  switch (end) {
    case DrainEnd::stopped: return "stopped";
    case DrainEnd::superseded: return "superseded";
    case DrainEnd::slice: break;
  }
  return "slice";
}

}  // namespace

Napi::Error error_of(Napi::Env env, const std::exception& thrown) {
  Napi::Error error = Napi::Error::New(env, thrown.what());
  const auto* failure = dynamic_cast<const Failure*>(&thrown);
  if (failure == nullptr) return error;
  Napi::Object details = Napi::Object::New(env);
  for (const auto& [key, value] : failure->details()) details.Set(key, value);
  error.Set("phosCode", Napi::String::New(env, error_code_name(failure->code())));
  error.Set("phosRetryable", Napi::Boolean::New(env, failure->retryable()));
  error.Set("phosDetails", details);
  return error;
}

std::string text_at(const Napi::CallbackInfo& info, std::size_t index) {
  if (!info[index].IsString()) wrong_argument(info, index, "a string");
  return info[index].As<Napi::String>().Utf8Value();
}

std::string text_or_empty_at(const Napi::CallbackInfo& info, std::size_t index) {
  return info[index].IsNull() ? std::string() : text_at(info, index);
}

std::int64_t integer_at(const Napi::CallbackInfo& info, std::size_t index, std::int64_t least,
                        std::int64_t most) {
  if (!info[index].IsNumber()) wrong_argument(info, index, "an integer");
  const double value = info[index].As<Napi::Number>().DoubleValue();
  if (std::trunc(value) != value || value < static_cast<double>(least) ||
      value > static_cast<double>(most)) {
    wrong_argument(info, index, "an integer within its limits");
  }
  return static_cast<std::int64_t>(value);
}

std::uint64_t bigint_at(const Napi::CallbackInfo& info, std::size_t index) {
  if (!info[index].IsBigInt()) wrong_argument(info, index, "a bigint");
  bool lossless = false;
  const std::uint64_t value = info[index].As<Napi::BigInt>().Uint64Value(&lossless);
  if (!lossless) wrong_argument(info, index, "a bigint of 64 bits, not negative");
  return value;
}

Napi::Function function_at(const Napi::CallbackInfo& info, std::size_t index) {
  if (!info[index].IsFunction()) wrong_argument(info, index, "a function");
  return info[index].As<Napi::Function>();
}

Napi::Array array_at(const Napi::CallbackInfo& info, std::size_t index) {
  if (!info[index].IsArray()) wrong_argument(info, index, "an array");
  return info[index].As<Napi::Array>();
}

bool boolean_at(const Napi::CallbackInfo& info, std::size_t index) {
  if (!info[index].IsBoolean()) wrong_argument(info, index, "a boolean");
  return info[index].As<Napi::Boolean>().Value();
}

void hex_at(const Napi::CallbackInfo& info, std::size_t index, std::uint8_t (&out)[16]) {
  if (!parse_hex(text_at(info, index), out, sizeof(out))) {
    wrong_argument(info, index, "32 hexadecimal digits");
  }
}

Napi::Value big(Napi::Env env, std::uint64_t value) { return Napi::BigInt::New(env, value); }

Napi::Value text_or_null(Napi::Env env, const std::string& text) {
  if (text.empty()) return env.Null();
  return Napi::String::New(env, text);
}

Napi::Object to_js(Napi::Env env, const Peer& peer) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("pid", number(env, peer.pid));
  object.Set("uid", number(env, peer.uid));
  object.Set("gid", number(env, peer.gid));
  return object;
}

Napi::Object to_js(Napi::Env env, const DeviceFacts& facts) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("driver", facts.driver);
  object.Set("ordinal", number(env, facts.ordinal));
  object.Set("name", facts.name);
  object.Set("uuid", facts.uuid);
  object.Set("driverVersion", number(env, facts.driver_version));
  object.Set("computeMajor", number(env, facts.compute_major));
  object.Set("computeMinor", number(env, facts.compute_minor));
  object.Set("totalBytes", big(env, facts.total_bytes));
  return object;
}

Napi::Object to_js(Napi::Env env, const ExecutorStatus& status) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("state", name_of(status.state));
  object.Set("device", status.device ? Napi::Value(to_js(env, *status.device)) : env.Null());
  object.Set("clientId", text_or_null(env, status.client_id));
  object.Set("clientPid", status.client_pid == 0
                              ? env.Null()
                              : Napi::Value(number(env, status.client_pid)));
  object.Set("commands", big(env, status.commands));
  object.Set("syncCommands", big(env, status.sync_commands));
  object.Set("deferredErrors", big(env, status.deferred_errors));
  object.Set("lastDeferredError", text_or_null(env, status.last_deferred_error));
  object.Set("head", big(env, status.head));
  object.Set("tail", big(env, status.tail));
  object.Set("gateClosed", Napi::Boolean::New(env, status.gate_closed));
  object.Set("deviceBytesUsed", big(env, status.device_bytes_used));
  object.Set("deviceBytesReserved", big(env, status.device_bytes_reserved));
  object.Set("arenaBytes", big(env, status.arena_bytes));
  object.Set("objects", count(env, status.objects));
  object.Set("pendingWaits", count(env, status.pending_waits));
  object.Set("parkedCommands", count(env, status.parked_commands));
  object.Set("contextError", count(env, status.context_error));
  Napi::Array calls = Napi::Array::New(env, status.unsupported_calls.size());
  for (std::uint32_t i = 0; i < status.unsupported_calls.size(); ++i) {
    calls.Set(i, status.unsupported_calls[i]);
  }
  object.Set("unsupportedCalls", calls);
  object.Set("gateWaits", big(env, status.gate_waits));
  object.Set("gateWaitNs", big(env, status.gate_wait_ns));
  return object;
}

Napi::Object to_js(Napi::Env env, const ExecutorEvent& event) {
  Napi::Object object = Napi::Object::New(env);
  switch (event.type) {
    case ExecutorEvent::Type::attached:
      object.Set("type", "client.attached");
      object.Set("pid", number(env, event.pid));
      object.Set("reattached", Napi::Boolean::New(env, event.reattached));
      break;
    case ExecutorEvent::Type::lost:
      object.Set("type", "client.lost");
      object.Set("reason", event.name);
      object.Set("detail", event.detail);
      break;
    case ExecutorEvent::Type::context_error:
      object.Set("type", "context.error");
      object.Set("status", number(env, event.status));
      object.Set("diagnostic", event.detail);
      break;
    case ExecutorEvent::Type::unsupported:
      object.Set("type", "call.unsupported");
      object.Set("name", event.name);
      break;
  }
  return object;
}

Napi::Object to_js(Napi::Env env, const DrainResult& result) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("end", name_of_end(result.end));
  object.Set("commands", big(env, result.commands));
  return object;
}

Napi::Object to_js(Napi::Env env, const DrainToResult& result) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("reached", Napi::Boolean::New(env, result.reached));
  object.Set("position", big(env, result.position));
  object.Set("waitingFor", text_or_null(env, result.waiting_for));
  return object;
}

namespace {

void set_hold(Napi::Env env, Napi::Object& object, const HoldFigures& hold) {
  object.Set("gpuHoldNs", big(env, hold.hold_ns));
  object.Set("gpuWaitNs", big(env, hold.wait_ns));
  object.Set("driverCalls", count(env, hold.driver_calls));
  object.Set("streamsHeld", count(env, hold.streams_held));
}

}  // namespace

Napi::Object to_js(Napi::Env env, const SaveBegun& begun) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("cut", big(env, begun.cut));
  object.Set("mode", name_of(begun.mode));
  object.Set("gateMayOpen", Napi::Boolean::New(env, begun.gate_may_open));
  object.Set("gateOpened", Napi::Boolean::New(env, begun.gate_opened));
  object.Set("objects", count(env, begun.objects));
  object.Set("deviceBytes", big(env, begun.device_bytes));
  object.Set("copiedBytes", big(env, begun.copied_bytes));
  object.Set("hashedBytes", big(env, begun.hashed_bytes));
  set_hold(env, object, begun.hold);
  return object;
}

Napi::Object to_js(Napi::Env env, const SaveReport& report) {
  const SaveResult& result = report.image;
  Napi::Object object = Napi::Object::New(env);
  object.Set("cut", big(env, result.cut));
  object.Set("objects", count(env, result.objects));
  object.Set("chunks", count(env, result.chunks));
  object.Set("zeroChunks", count(env, result.zero_chunks));
  object.Set("parentChunks", count(env, result.parent_chunks));
  object.Set("movedBytes", big(env, result.moved_bytes));
  object.Set("sharedChunks", count(env, result.shared_chunks));
  object.Set("deviceBytes", big(env, result.device_bytes));
  object.Set("writtenBytes", big(env, result.written_bytes));
  Napi::Array files = Napi::Array::New(env, result.files.size());
  for (std::uint32_t i = 0; i < result.files.size(); ++i) {
    Napi::Object file = Napi::Object::New(env);
    file.Set("name", result.files[i].name);
    file.Set("bytes", big(env, result.files[i].bytes));
    file.Set("xxh3", text_or_null(env, result.files[i].xxh3));
    files.Set(i, file);
  }
  object.Set("files", files);
  object.Set("objectsMs", number(env, result.objects_ms));
  object.Set("copyMs", number(env, result.copy_ms));
  object.Set("syncMs", number(env, result.sync_ms));
  object.Set("mode", name_of(report.mode));
  object.Set("copiedBytes", big(env, report.copied_bytes));
  object.Set("hashedBytes", big(env, report.hashed_bytes));
  set_hold(env, object, report.hold);
  object.Set("asideChunks", count(env, report.aside.copied_aside));
  object.Set("heldBack", count(env, report.aside.held_back));
  object.Set("validationMissed", env.Null());
  if (report.aside.missed != 0) {
    Napi::Object missed = Napi::Object::New(env);
    missed.Set("chunks", count(env, report.aside.missed));
    Napi::Array kernels = Napi::Array::New(env, report.suspects.size());
    for (std::uint32_t i = 0; i < report.suspects.size(); ++i) kernels.Set(i, report.suspects[i]);
    missed.Set("kernels", kernels);
    object.Set("validationMissed", missed);
  }
  return object;
}

Napi::Object to_js(Napi::Env env, const LoadResult& result) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("cut", big(env, result.cut));
  object.Set("clientId", result.client_id);
  object.Set("objects", count(env, result.objects));
  object.Set("chunks", count(env, result.chunks));
  object.Set("deviceBytes", big(env, result.device_bytes));
  object.Set("readBytes", big(env, result.read_bytes));
  object.Set("verifyMs", number(env, result.verify_ms));
  object.Set("objectsMs", number(env, result.objects_ms));
  object.Set("copyMs", number(env, result.copy_ms));
  return object;
}

Napi::Object to_js(Napi::Env env, const SuspendResult& result) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("deviceBytes", big(env, result.device_bytes));
  object.Set("hostBytes", big(env, result.host_bytes));
  object.Set("durationMs", number(env, result.duration_ms));
  return object;
}

Napi::Object to_js(Napi::Env env, const VerifyResult& result) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("version", number(env, result.version));
  object.Set("clientId", result.client_id);
  object.Set("cut", big(env, result.cut));
  object.Set("objects", count(env, result.objects));
  object.Set("chunks", count(env, result.chunks));
  object.Set("deviceBytes", big(env, result.device_bytes));
  object.Set("readBytes", big(env, result.read_bytes));
  return object;
}

Napi::Array to_js(Napi::Env env, const std::vector<ObjectSummary>& objects) {
  Napi::Array array = Napi::Array::New(env, objects.size());
  for (std::uint32_t i = 0; i < objects.size(); ++i) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("type", objects[i].type);
    object.Set("handle", big(env, objects[i].handle));
    object.Set("bytes", big(env, objects[i].bytes));
    object.Set("createdBy", objects[i].created_by);
    object.Set("unsaveable", text_or_null(env, objects[i].unsaveable));
    array.Set(i, object);
  }
  return array;
}

}  // namespace phos::addon
