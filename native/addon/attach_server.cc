// SPDX-License-Identifier: Apache-2.0
#include "addon/attach_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <climits>
#include <cstring>
#include <vector>

#include "addon/convert.h"
#include "executor/digest.h"
#include "executor/failure.h"

namespace phos::addon {

namespace {

using namespace executor;

constexpr std::size_t kMaxConnections = 1024;

// NUL-separated NAME=VALUE; what has no '=' is left out.
Napi::Object environment_of(Napi::Env env, const std::string& blob) {
  Napi::Object object = Napi::Object::New(env);
  std::size_t at = 0;
  while (at < blob.size()) {
    const std::size_t end = std::min(blob.find('\0', at), blob.size());
    const std::string entry = blob.substr(at, end - at);
    const std::size_t equals = entry.find('=');
    if (equals != std::string::npos && equals != 0) {
      object.Set(entry.substr(0, equals), entry.substr(equals + 1));
    }
    at = end + 1;
  }
  return object;
}

}  // namespace

Napi::Function AttachServer::define(Napi::Env env) {
  return DefineClass(env, "AttachServer",
                     {InstanceMethod("welcome", &AttachServer::welcome),
                      InstanceMethod("refuse", &AttachServer::refuse),
                      InstanceMethod("close", &AttachServer::close)});
}

AttachServer::AttachServer(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<AttachServer>(info), path_(text_at(info, 0)) {
  const Napi::Env env = info.Env();
  const Napi::Function on_message = function_at(info, 1);
  const Napi::Function on_gone = function_at(info, 2);
  guarded(env, [&] {
    listener_ = listen_at(path_);
    wake_ = Descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake_) throw Failure(Code::unavailable, "Making an eventfd failed.");
  });
  requests_ = std::make_unique<EventChannel>(env, on_message, "attach");
  gone_ = std::make_unique<EventChannel>(env, on_gone, "attach.gone");
  thread_ = std::thread([this] { serve(); });
}

void AttachServer::serve() {
  while (!stopping_.load()) {
    std::vector<pollfd> sources{{wake_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
    std::vector<std::uint32_t> ids;
    {
      const std::lock_guard lock(mutex_);
      for (const auto& [id, connection] : connections_) {
        sources.push_back({connection.socket.get(), POLLIN, 0});
        ids.push_back(id);
      }
    }
    if (::poll(sources.data(), sources.size(), -1) < 0 && errno != EINTR) return;
    if (stopping_.load()) return;
    std::uint64_t count = 0;
    if (sources[0].revents != 0 && ::read(wake_.get(), &count, sizeof(count)) < 0) continue;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (sources[i + 2].revents == 0) continue;
      const std::lock_guard lock(mutex_);
      // It may have been answered, and closed, since the list was made.
      const auto found = connections_.find(ids[i]);
      if (found != connections_.end() && found->second.socket.get() == sources[i + 2].fd) {
        take_message(ids[i], found->second);
      }
    }
    if (sources[1].revents != 0) accept_one();
  }
}

void AttachServer::accept_one() {
  Connection connection;
  connection.socket = accept_from(listener_.get());
  if (!connection.socket) return;
  try {
    connection.peer = peer_of(connection.socket.get());
  } catch (const Failure&) {
    return;  // gone already
  }
  const std::lock_guard lock(mutex_);
  if (connections_.size() >= kMaxConnections) {
    send_refused(connection.socket.get(), 0, CUDA_ERROR_SYSTEM_NOT_READY,
                 "too many programs attach at once; try again");
    return;
  }
  connections_.emplace(next_id_++, std::move(connection));
}

void AttachServer::take_message(std::uint32_t id, Connection& connection) {
  Message message;
  const Receive received = receive(connection.socket.get(), &message);
  if (received == Receive::nothing) return;
  const auto* hello =
      received == Receive::message ? message_as<wire::Hello>(message) : nullptr;
  const bool good = hello != nullptr && type_of(message) == wire::Type::hello &&
                    message.bytes.size() == sizeof(wire::Hello) + hello->environment_bytes &&
                    !connection.said_hello;
  if (!good) {
    if (received != Receive::closed) {
      send_refused(connection.socket.get(), 0, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH,
                   "the client library speaks another version of the protocol");
    }
    drop(id);
    return;
  }
  connection.said_hello = true;
  connection.serial = hello->header.serial;
  const Peer peer = connection.peer;
  const wire::Hello copy = *hello;
  const std::string environment(message.bytes.begin() + sizeof(wire::Hello), message.bytes.end());
  requests_->post([=](Napi::Env env, Napi::Function callback) {
    Napi::Object said = Napi::Object::New(env);
    said.Set("clientId", hex_of(copy.client_id, 16));
    said.Set("pid", Napi::Number::New(env, copy.pid));
    said.Set("reattach", Napi::Boolean::New(env, copy.reattach != 0));
    said.Set("ringVersion", Napi::Number::New(env, copy.ring_version));
    said.Set("environment", environment_of(env, environment));
    Napi::Object request = Napi::Object::New(env);
    request.Set("connection", Napi::Number::New(env, id));
    request.Set("hello", said);
    request.Set("peer", to_js(env, peer));
    callback.Call({request});
  });
}

void AttachServer::drop(std::uint32_t id) {
  const auto found = connections_.find(id);
  const bool told = found->second.said_hello;
  connections_.erase(found);
  if (!told) return;
  gone_->post([id](Napi::Env env, Napi::Function callback) {
    callback.Call({Napi::Number::New(env, id)});
  });
}

AttachServer::Connection AttachServer::take(Napi::Env env, std::uint32_t id) {
  return guarded(env, [&] {
    if (stopping_.load()) {
      throw Failure(Code::conflict, "The attach server is closed.");
    }
    const std::lock_guard lock(mutex_);
    const auto found = connections_.find(id);
    if (found == connections_.end()) {
      throw Failure(Code::not_found, "The program that waited on connection " +
                                         std::to_string(id) + " is gone.");
    }
    Connection connection = std::move(found->second);
    connections_.erase(found);
    return connection;
  });
}

Napi::Value AttachServer::welcome(const Napi::CallbackInfo& info) {
  const auto id = static_cast<std::uint32_t>(integer_at(info, 0, 1, UINT_MAX));
  wire::Welcome answer{};
  hex_at(info, 1, answer.token);
  const std::string path = text_at(info, 2);
  if (path.empty() || path.size() >= sizeof(answer.executor_path)) {
    throw Napi::TypeError::New(info.Env(), "argument 3 must be the path of a socket");
  }
  std::memcpy(answer.executor_path, path.c_str(), path.size());
  const Connection connection = take(info.Env(), id);
  return guarded(info.Env(), [&]() -> Napi::Value {
    if (!send_message(connection.socket.get(), wire::Type::welcome, connection.serial, answer)) {
      throw Failure(Code::not_found, "The program that waited on connection " +
                                         std::to_string(id) + " is gone.");
    }
    return info.Env().Undefined();
  });
}

Napi::Value AttachServer::refuse(const Napi::CallbackInfo& info) {
  const auto id = static_cast<std::uint32_t>(integer_at(info, 0, 1, UINT_MAX));
  const auto status = static_cast<std::uint32_t>(integer_at(info, 1, 1, UINT_MAX));
  const std::string message = text_at(info, 2);
  const Connection connection = take(info.Env(), id);
  send_refused(connection.socket.get(), connection.serial, status, message);
  return info.Env().Undefined();
}

Napi::Value AttachServer::close(const Napi::CallbackInfo& info) {
  stop();
  return info.Env().Undefined();
}

void AttachServer::stop() {
  if (stopping_.exchange(true)) return;
  const std::uint64_t one = 1;
  if (wake_ && ::write(wake_.get(), &one, sizeof(one)) < 0) {
    // The counter is full: the thread wakes anyway.
  }
  if (thread_.joinable()) thread_.join();
  if (listener_) ::unlink(path_.c_str());
  listener_.reset();
  connections_.clear();
  if (requests_) requests_->close();
  if (gone_) gone_->close();
}

}  // namespace phos::addon
