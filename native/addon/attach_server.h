// SPDX-License-Identifier: Apache-2.0
// phosd's attach.sock: agents say hello here, JavaScript decides, they are sent on.
#pragma once

#include <napi.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "addon/event_channel.h"
#include "executor/seqpacket.h"

namespace phos::addon {

class AttachServer : public Napi::ObjectWrap<AttachServer> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit AttachServer(const Napi::CallbackInfo& info);
  ~AttachServer() override { stop(); }

 private:
  struct Connection {
    executor::Descriptor socket;
    executor::Peer peer;
    std::uint32_t serial = 0;
    bool said_hello = false;
  };

  Napi::Value welcome(const Napi::CallbackInfo& info);
  Napi::Value refuse(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  void serve();
  void take_message(std::uint32_t id, Connection& connection);
  void accept_one();
  void drop(std::uint32_t id);
  Connection take(Napi::Env env, std::uint32_t id);
  void stop();

  std::string path_;
  executor::Descriptor listener_;
  executor::Descriptor wake_;
  std::unique_ptr<EventChannel> requests_;
  std::unique_ptr<EventChannel> gone_;
  std::thread thread_;
  std::mutex mutex_;
  std::map<std::uint32_t, Connection> connections_;
  std::uint32_t next_id_ = 1;
  std::atomic<bool> stopping_{false};
};

}  // namespace phos::addon
