// SPDX-License-Identifier: Apache-2.0
#include "executor/session.h"

#include <algorithm>
#include <cstring>

#include "executor/blob_store.h"
#include "executor/callbacks.h"
#include "executor/helpers.h"
#include "executor/host_arenas.h"
#include "executor/parking.h"
#include "executor/pinned_pool.h"
#include "executor/spare_memory.h"
#include "executor/textures.h"
#include "executor/waits.h"
#include "phos/placing.h"
#include "ring/consumer.h"
#include "ring/reply.h"

namespace phos::executor {

SessionLock::SessionLock(Session& session) : session_(session.is_held_here() ? nullptr : &session) {
  if (session_ == nullptr) return;
  session_->control_waiters_.fetch_add(1, std::memory_order_acq_rel);
  session_->mutex_.lock();
  session_->holder_.store(__builtin_thread_pointer(), std::memory_order_relaxed);
}

SessionLock::~SessionLock() {
  if (session_ == nullptr) return;
  session_->holder_.store(nullptr, std::memory_order_relaxed);
  session_->mutex_.unlock();
  if (session_->control_waiters_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    session_->control_waiters_.notify_all();
  }
}

DrainLock::DrainLock(Session& session) : session_(session) {
  // Gives way: a mutex alone would be taken again before a waiter wakes.
  for (std::uint32_t waiting = session.control_waiters_.load(std::memory_order_acquire);
       waiting != 0; waiting = session.control_waiters_.load(std::memory_order_acquire)) {
    session.control_waiters_.wait(waiting, std::memory_order_acquire);
  }
  session.mutex_.lock();
  session.holder_.store(__builtin_thread_pointer(), std::memory_order_relaxed);
}

DrainLock::~DrainLock() {
  session_.holder_.store(nullptr, std::memory_order_relaxed);
  session_.mutex_.unlock();
}

Session::Session(const DriverTable& driver, CUdevice device, CUcontext context,
                 std::uint64_t window_base, std::uint64_t memory_limit, SessionEvents events)
    : driver_(driver),
      device_(device),
      context_(context),
      events_(std::move(events)),
      memory_(driver_, device, window_base, memory_limit),
      streams_(driver_),
      arenas_(std::make_unique<HostArenas>(driver_, context)),
      blobs_(std::make_unique<BlobStore>()),
      callbacks_(std::make_unique<Callbacks>(driver_, *arenas_)),
      pinned_(std::make_unique<PinnedPool>(driver_)),
      helpers_(std::make_unique<Helpers>([this] { driver_.cuCtxSetCurrent(context_); })),
      waits_(std::make_unique<Waits>(*this)) {}

Session::~Session() {
  helpers_->stop();
  enter_context();
  destroy_objects();
  event_times_.clear(driver_);
  waits_->drop_objects();
}

bool Session::is_quiet() { return waits_->open() == 0 && helpers_->busy() == 0; }

// What the program left behind. An error means that the context is broken, and everything with it.
void Session::destroy_objects() {
  std::vector<Object*> all = objects_.in_order();
  for (auto it = all.rbegin(); it != all.rend(); ++it) {
    void* real = (*it)->real;
    switch ((*it)->type) {
      case HandleType::stream: driver_.cuStreamDestroy(static_cast<CUstream>(real)); break;
      case HandleType::event: driver_.cuEventDestroy(static_cast<CUevent>(real)); break;
      case HandleType::module: driver_.cuModuleUnload(static_cast<CUmodule>(real)); break;
      case HandleType::library: driver_.cuLibraryUnload(static_cast<CUlibrary>(real)); break;
      case HandleType::graph: driver_.cuGraphDestroy(static_cast<CUgraph>(real)); break;
      case HandleType::graph_exec:
        driver_.cuGraphExecDestroy(static_cast<CUgraphExec>(real));
        break;
      case HandleType::array: driver_.cuArrayDestroy(static_cast<CUarray>(real)); break;
      case HandleType::texture:
      case HandleType::surface: destroy_texture(driver_, (*it)->type, real); break;
      default: break;  // goes with its parent, or with the context
    }
  }
  objects_.clear();
}

CUresult Session::enter_context() noexcept {
  static thread_local const Session* t_session = nullptr;
  if (t_session == this) return CUDA_SUCCESS;
  const CUresult result = driver_.cuCtxSetCurrent(context_);
  if (result == CUDA_SUCCESS) t_session = this;
  return result;
}

void Session::create(HandleType type, std::uint64_t wire, void* real, const Command& command,
                     std::span<const std::uint64_t> parents) {
  const SessionLock lock(*this);
  Object* object = objects_.add(type, wire, real);
  if (object == nullptr) {
    protocol_error(command.call(), "the handle of a new object is malformed or in use");
    return;
  }
  object->parents.assign(parents.begin(), parents.end());
  if (command.context() != 0 && objects_.find(HandleType::context, command.context())) {
    object->parents.push_back(command.context());
  }
  object->create = saved(command);
  if (!is_function(type) && type != HandleType::graph && type != HandleType::graph_exec) return;
  for (const std::uint64_t parent : parents) {
    Object* library = objects_.find(HandleType::library, parent);
    if (library != nullptr) library->touched = true;
    const Object* graph = objects_.find(HandleType::graph, parent);
    if (graph != nullptr) object->made_from.push_back(graph->creation);
  }
}

void Session::note_captured(const Command& command, const OrderPlace& place) {
  if (!place.counts) return;
  for (auto& [origin, capture] : captures_) {
    const bool joins = command.call() == CallId::cuStreamWaitEvent &&
                       capture.events.contains(place.needs);
    if (joins) capture.streams.insert(*place.stream);
    if (!capture.streams.contains(*place.stream)) {
      if (place.records != 0) capture.events.erase(place.records);
      continue;
    }
    if (place.records != 0) capture.events.insert(place.records);
    capture.commands.push_back(saved(command));
  }
}

SavedCommand Session::saved(const Command& command) {
  return SavedCommand{command.header().op, command.context(),
                      {command.payload().begin(), command.payload().end()}};
}

void Session::mutate(HandleType type, std::uint64_t wire, const Command& command) {
  const SessionLock lock(*this);
  SavedCommand change = saved(command);
  // The last change of each kind counts: programs set the same attribute before every launch. It
  // takes the place of the first, which may have made the driver load something.
  const std::uint64_t kind = kind_of_change(change);
  // The executor's one context is no object of the table; records carry 0 for it.
  if (type == HandleType::context && wire == 0) return placements_.changed(std::move(change), kind);
  Object* object = objects_.find(type, wire);
  if (object == nullptr) {
    protocol_error(command.call(), "an object that is changed does not exist");
    return;
  }
  // What was made from a graph meanwhile is of the graph as it was then: all its changes count.
  for (SavedCommand& earlier : object->mutations) {
    if (type == HandleType::graph || type == HandleType::graph_node) break;
    if (kind_of_change(earlier) != kind) continue;
    change.order = earlier.order;
    earlier = std::move(change);
    return;
  }
  change.order = objects_.next_creation();
  object->mutations.push_back(std::move(change));
}

void Session::update_from(std::uint64_t exec, std::uint64_t graph, const Command& command) {
  const SessionLock lock(*this);
  Object* object = objects_.find(HandleType::graph_exec, exec);
  const Object* from = objects_.find(HandleType::graph, graph);
  if (object == nullptr || from == nullptr) return;
  // Both graphs must have the same shape, so the one that it was made from is needed still.
  if (object->made_from.size() > 1) object->made_from.resize(1);
  object->made_from.push_back(from->creation);
  object->mutations.clear();
  SavedCommand change = saved(command);
  change.order = objects_.next_creation();
  object->mutations.push_back(std::move(change));
  placements_.forget_graphs();
}

void Session::destroy_children(HandleType type, std::uint64_t wire,
                               std::vector<std::unique_ptr<Object>>& gone) {
  for (const std::uint64_t child : objects_.children_of(wire)) {
    if (!is_handle(child)) continue;
    const auto child_type = static_cast<HandleType>(handle_type(child));
    // An executable graph outlives the graph that it was made from.
    if (type == HandleType::graph && child_type == HandleType::graph_exec) continue;
    destroy_children(child_type, child, gone);
    std::unique_ptr<Object> object = objects_.remove(child_type, child);
    if (object != nullptr) gone.push_back(std::move(object));
  }
}

CUresult Session::destroy(HandleType type, std::uint64_t wire) {
  const SessionLock lock(*this);
  std::vector<std::unique_ptr<Object>> gone;
  gone.push_back(objects_.remove(type, wire));
  if (gone.front() == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (type == HandleType::stream) streams_.forget(wire);
  if (is_code(type) || type == HandleType::context || type == HandleType::graph ||
      type == HandleType::graph_exec) {
    destroy_children(type, wire, gone);
  }
  // What is loaded later may lie where it does because of this one, so that its place must be taken
  // at a restore. Its image stays; the same image loaded again and again is kept once.
  if (gone.front()->image != Digest{}) placements_.unloaded(std::move(gone));
  if (type == HandleType::graph) placements_.graph_destroyed(std::move(gone));
  if (type == HandleType::graph_exec) placements_.forget_graphs();
  return CUDA_SUCCESS;
}

// What cannot be loaded fails again in the call that needs it, and says so there.
void Session::first_use(Object& object) noexcept {
  placements_.used(object);
  const PlacingScope placing;
  auto* function = static_cast<CUfunction>(object.real);
  if (object.type == HandleType::kernel &&
      driver_.cuKernelGetFunction(&function, static_cast<CUkernel>(object.real)) != CUDA_SUCCESS) {
    return;
  }
  if (driver_.cuFuncLoad(function) != CUDA_ERROR_NOT_SUPPORTED) return;
  int registers = 0;  // drivers before 12.4: asking for an attribute of the code loads it
  driver_.cuFuncGetAttribute(&registers, CU_FUNC_ATTRIBUTE_NUM_REGS, function);
}

CUresult Session::find_variable(HandleType type, std::uint64_t wire, const std::string& name,
                                CUdeviceptr* address, std::size_t* bytes) {
  void* real = nullptr;
  CUresult result = resolve(type, wire, false, &real);
  if (result != CUDA_SUCCESS) return result;
  const PlacingScope placing;
  result = type == HandleType::module
               ? driver_.cuModuleGetGlobal(address, bytes, static_cast<CUmodule>(real),
                                           name.c_str())
               : driver_.cuLibraryGetGlobal(address, bytes, static_cast<CUlibrary>(real),
                                            name.c_str());
  if (result != CUDA_SUCCESS) return result;
  const SessionLock lock(*this);
  Object* object = objects_.find(type, wire);
  if (object != nullptr) placements_.looked_up(*object, name);
  return CUDA_SUCCESS;
}

void Session::protocol_error(CallId call, const char* what) noexcept {
  bool expected = false;
  if (!broken_.compare_exchange_strong(expected, true)) return;
  if (events_.protocol_error) events_.protocol_error(call, what);
}

void Session::attach_ring(RingHeader* header, const ring::Geometry& geometry) noexcept {
  geometry_ = geometry;
  ring_.store(header, std::memory_order_release);
}

void Session::poison_ring(CUresult status) noexcept {
  RingHeader* ring = ring_.load(std::memory_order_acquire);
  if (ring != nullptr) ring::poison(ring, geometry_, static_cast<std::uint32_t>(status));
}

void Session::note_context_error(CUresult status, CallId call) {
  CUresult none = CUDA_SUCCESS;
  if (!context_error_.compare_exchange_strong(none, status)) return;
  if (events_.context_error) events_.context_error(status, call_name(call));
}

void Session::finish(const Reply& reply, CUresult status, const void* data,
                     std::size_t bytes) noexcept {
  const RecordHeader& header = reply.header();
  const auto call = static_cast<CallId>(header.op);
  if (is_sticky(status)) note_context_error(status, call);
  if (capture_reply_ != nullptr && is_held_here()) {
    capture_reply_->status = status;
    const auto* from = static_cast<const std::uint8_t*>(data);
    capture_reply_->data.assign(from, from + bytes);
    return;
  }
  if (!reply.is_sync()) {
    // Errors that CUDA returns at the call were decided by the client: this one is ours.
    if (status != CUDA_SUCCESS && !is_sticky(status)) {
      deferred_errors_.fetch_add(1, std::memory_order_relaxed);
      RingHeader* ring = ring_.load(std::memory_order_acquire);
      if (ring != nullptr) ring->deferred_errors.fetch_add(1, std::memory_order_relaxed);
      const std::lock_guard lock(names_mutex_);
      last_deferred_error_ = std::string(call_name(call)) + " answered " + std::to_string(status);
    }
    return;
  }
  RingHeader* ring = ring_.load(std::memory_order_acquire);
  if (ring == nullptr) return;
  sync_commands_.fetch_add(1, std::memory_order_relaxed);
  if (!ring::reply(ring, geometry_, header, status, data, bytes)) {
    protocol_error(call, "the reply slot does not exist, or the answer is too large for it");
  }
}

void Reply::send(CUresult status, const void* data, std::size_t bytes) noexcept {
  session_->finish(*this, status, data, bytes);
}

std::string Session::name_of_kernel(std::uint64_t wire) {
  const bool is_kernel = handle_type(wire) == static_cast<std::uint8_t>(HandleType::kernel);
  const Object* object =
      objects_.find(is_kernel ? HandleType::kernel : HandleType::function, wire);
  if (object == nullptr) return {};
  const char* name = nullptr;
  const CUresult result =
      is_kernel ? driver_.cuKernelGetName(&name, static_cast<CUkernel>(object->real))
                : driver_.cuFuncGetName(&name, static_cast<CUfunction>(object->real));
  return result == CUDA_SUCCESS && name != nullptr ? name : std::string();
}

std::string Session::busy_with() {
  std::uint64_t stream = 0;
  std::uint64_t function = 0;
  if (!streams_.first_busy(&stream, &function)) return {};
  const std::string name = name_of_kernel(function);
  const std::string text = "stream " + std::to_string(stream);
  return name.empty() ? text : text + ", running " + name;
}

std::string Session::last_deferred_error() {
  const std::lock_guard lock(names_mutex_);
  return last_deferred_error_;
}

void Session::note_unsupported(CallId call) {
  {
    const std::lock_guard lock(names_mutex_);
    if (std::find(unsupported_.begin(), unsupported_.end(), call) != unsupported_.end()) return;
    unsupported_.push_back(call);
  }
  if (events_.unsupported) events_.unsupported(call);
}

std::vector<std::string> Session::unsupported_calls() {
  const std::lock_guard lock(names_mutex_);
  std::vector<std::string> names;
  for (const CallId call : unsupported_) names.emplace_back(call_name(call));
  return names;
}

bool Session::drop_spare() {
  if (spare_ == nullptr) return false;
  const std::shared_ptr<SpareMemory> spare = std::move(spare_);
  spare_.reset();
  return spare->release() != nullptr;
}

bool is_sticky(CUresult status) noexcept {
  switch (status) {
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_NVLINK_UNCORRECTABLE:
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_EXTERNAL_DEVICE:
      return true;
    default:
      return false;
  }
}

}  // namespace phos::executor
