// SPDX-License-Identifier: Apache-2.0
#include "executor/executor.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

#include "executor/callbacks.h"
#include "executor/checkpoint.h"
#include "executor/device_page.h"
#include "executor/device_port.h"
#include "executor/helpers.h"
#include "executor/host_arenas.h"
#include "executor/spare_memory.h"
#include "executor/waits.h"
#include "executor/window.h"

namespace phos::executor {

const char* name_of(State state) noexcept {
  switch (state) {
    case State::created: return "created";
    case State::ready: return "ready";
    case State::expecting: return "expecting";
    case State::attached: return "attached";
    case State::disconnected: return "disconnected";
    case State::suspended: return "suspended";
    case State::lost: return "lost";
    case State::closed: break;
  }
  return "closed";
}

Executor::Executor(ExecutorOptions options, EventSink events)
    : options_(std::move(options)), events_(std::move(events)) {}

Executor::~Executor() {
  close();
  server_.reset();
  if (session_) abandon_save();
  drain_.reset();
  save_job_.reset();
  hasher_.reset();
  session_.reset();
  if (facts_) options_.driver.cuDevicePrimaryCtxRelease(device_);
}

void Executor::set_state(State state) {
  const std::lock_guard lock(state_mutex_);
  if (state_ != State::closed) state_ = state;
}

SessionEvents Executor::session_events() {
  SessionEvents events;
  events.context_error = [this](CUresult status, const char* call) {
    session_->poison_ring(status);
    ExecutorEvent event;
    event.type = ExecutorEvent::Type::context_error;
    event.status = static_cast<std::uint32_t>(status);
    event.detail = std::string("noticed by ") + call;
    events_(event);
  };
  events.unsupported = [this](CallId call) {
    ExecutorEvent event;
    event.type = ExecutorEvent::Type::unsupported;
    event.name = call_name(call);
    events_(event);
  };
  events.protocol_error = [this](CallId call, const char* what) {
    session_->poison_ring(CUDA_ERROR_INVALID_VALUE);
    const std::string why =
        call == CallId::none ? std::string(what) : std::string(call_name(call)) + ": " + what;
    if (server_) server_->cut_off(why);
  };
  return events;
}

RingServerHooks Executor::server_hooks() {
  RingServerHooks hooks;
  hooks.attached = [this](void* base, std::size_t bytes, const Peer& peer, bool reattached) {
    if (!attach_ring(base, bytes)) return false;
    on_attached(peer, reattached);
    return true;
  };
  hooks.add_arena = [this](const ArenaFacts& facts, int fd) {
    // After a dump that went on the arena is still here, and it is the same memory.
    for (const ArenaFacts& known : session_->arenas().all()) {
      if (known.address == facts.address && known.bytes == facts.bytes) {
        ::close(fd);
        return CUDA_SUCCESS;
      }
    }
    return session_->arenas().add(facts, fd);
  };
  hooks.remove_arena = [this](std::uint64_t address) {
    return session_->arenas().remove(address);
  };
  hooks.disconnected = [this] { set_state(State::disconnected); };
  hooks.lost = [this](LostReason reason, const std::string& detail) { on_lost(reason, detail); };
  return hooks;
}

DeviceFacts Executor::start() {
  const std::lock_guard lock(control_);
  if (facts_) throw Failure(Code::conflict, "The executor has been started already.");
  const DriverTable& driver = options_.driver;
  check_driver(driver, driver.cuInit(0), "Initialising the driver");
  check_driver(driver, driver.cuDeviceGet(&device_, options_.ordinal), "Opening the device");
  CUcontext context = nullptr;
  check_driver(driver, driver.cuDevicePrimaryCtxRetain(&context, device_), "Making the context");
  check_driver(driver, driver.cuCtxSetCurrent(context), "Entering the context");
  DeviceFacts facts;
  facts.driver = options_.driver_name;
  facts.ordinal = options_.ordinal;
  char name[256]{};
  CUuuid uuid{};
  std::size_t total = 0;
  check_driver(driver, driver.cuDeviceGetName(name, sizeof(name), device_), "Asking the name");
  check_driver(driver, driver.cuDeviceGetUuid(&uuid, device_), "Asking the device's UUID");
  check_driver(driver, driver.cuDeviceTotalMem(&total, device_), "Asking the device's memory");
  check_driver(driver, driver.cuDriverGetVersion(&facts.driver_version), "Asking the version");
  driver.cuDeviceGetAttribute(&facts.compute_major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                              device_);
  driver.cuDeviceGetAttribute(&facts.compute_minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                              device_);
  facts.name = name;
  facts.uuid = hex_of(reinterpret_cast<const std::uint8_t*>(&uuid), 16);
  facts.total_bytes = total;
  session_ = std::make_unique<Session>(driver, device_, context, device_window_base(),
                                       options_.memory_limit, session_events());
  check_driver(driver, session_->memory().reserve(), "Reserving the window for device memory");
  hasher_ = std::make_unique<ChangeHasher>(session_->driver());
  hasher_->load();
  drain_ = std::make_unique<Drain>(*session_);
  if (!options_.ring_socket_path.empty()) {
    server_ = std::make_unique<RingServer>(options_.ring_socket_path, server_hooks());
    server_->start();
  }
  write_device_page(driver, device_, facts, options_.ring_socket_path);
  facts_ = facts;
  set_state(State::ready);
  return facts;
}

Session& Executor::live_session() {
  if (!session_ || closed_.load()) {
    throw Failure(Code::conflict,
                  session_ ? "The executor is closed." : "Start the executor first.");
  }
  return *session_;
}

void Executor::expect(const ExpectedClient& client) {
  live_session();
  {
    const std::lock_guard lock(state_mutex_);
    if (state_ == State::lost) {
      throw Failure(Code::conflict, "The client of this executor is gone; use another executor.");
    }
    const std::string id = hex_of(client.client_id, 16);
    if (!client_id_.empty() && client_id_ != id) {
      throw Failure(Code::conflict, "This executor belongs to client " + client_id_ +
                                        "; use another executor.");
    }
    client_id_ = id;
    if (state_ == State::ready) state_ = State::expecting;
  }
  if (server_) server_->expect(client);
}

bool Executor::attach_ring(void* base, std::size_t bytes) {
  const auto* header = static_cast<const RingHeader*>(base);
  const SessionLock lock(*session_);
  // A restored ring goes on where its image was cut.
  if (loaded_cut_ && header->tail.load(std::memory_order_acquire) != *loaded_cut_) return false;
  if (loaded_cut_ && gate_closed_) drain_->set_limit(*loaded_cut_);
  try {
    session_->enter_context();
    rebuild_rest(*session_, *drain_, std::exchange(later_, nullptr));
  } catch (const Failure& failure) {
    std::fprintf(stderr, "phos: %s\n", failure.what());
    return false;
  }
  if (drain_->attach(base, bytes) != ring::Fault::none) return false;
  loaded_cut_.reset();
  // The gate is as phosd wants it, whatever it was in the ring's memory.
  if (gate_closed_) {
    ring::close_gate(drain_->header());
  } else {
    ring::open_gate(drain_->header());
  }
  return true;
}

void Executor::on_attached(const Peer& peer, bool reattached) {
  {
    const std::lock_guard lock(state_mutex_);
    if (state_ != State::suspended) state_ = State::attached;
  }
  ExecutorEvent event;
  event.type = ExecutorEvent::Type::attached;
  event.pid = static_cast<std::uint32_t>(peer.pid);
  event.reattached = reattached;
  events_(event);
}

void Executor::on_lost(LostReason reason, const std::string& detail) {
  set_state(State::lost);
  if (reason == LostReason::protocol) session_->poison_ring(CUDA_ERROR_INVALID_VALUE);
  free_client();
  ExecutorEvent event;
  event.type = ExecutorEvent::Type::lost;
  event.name = name_of(reason);
  event.detail = detail;
  events_(event);
}

void Executor::free_client() {
  drain_->detach(true);
  session_->callbacks().abandon();
  abandon_save();
  const SessionLock lock(*session_);
  session_->enter_context();
  session_->drop_spare();
  // What still runs would fault on memory that is taken away; it goes with the process instead.
  if (session_->context_error() == CUDA_SUCCESS && session_->streams().idle()) {
    session_->memory().release_all();
  }
  suspended_.reset();
}

DrainResult Executor::run(std::uint32_t slice_ms) {
  if (closed_.load()) return {};
  live_session();
  return drain_->run(slice_ms);
}

void Executor::stop() noexcept {
  if (drain_) drain_->stop();
}

void Executor::finish() noexcept {
  if (drain_) drain_->finish();
}

void Executor::close() {
  if (closed_.exchange(true)) return;
  if (server_) server_->close();
  finish();
  {
    const std::lock_guard lock(state_mutex_);
    state_ = State::closed;
  }
}

}  // namespace phos::executor
