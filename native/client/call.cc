// SPDX-License-Identifier: Apache-2.0
#include "client/call.h"

#include "client/call_counts.h"
#include "client/log.h"

namespace phos::client {

constinit Process g_process;

namespace {

// Each thread keeps a reply slot until it ends. Threads that find none left share one, which a
// thread holds from its request to its reply.
class BorrowedSlot {
 public:
  explicit BorrowedSlot(ThreadState& thread) noexcept {
    if (thread.reply_slot == kNoReply) thread.reply_slot = g_process.replies.claim();
    slot_ = thread.reply_slot;
    shared_ = slot_ == kNoReply;
    if (!shared_) return;
    g_process.shared_slot_lock.lock();
    slot_ = g_process.shared_slot;
  }
  ~BorrowedSlot() {
    if (shared_) g_process.shared_slot_lock.unlock();
  }
  BorrowedSlot(const BorrowedSlot&) = delete;
  BorrowedSlot& operator=(const BorrowedSlot&) = delete;
  std::uint32_t index() const noexcept { return slot_; }

 private:
  std::uint32_t slot_ = kNoReply;
  bool shared_ = false;
};

CUresult invalid(HandleType type) noexcept {
  return type == HandleType::context ? CUDA_ERROR_INVALID_CONTEXT : CUDA_ERROR_INVALID_HANDLE;
}

}  // namespace

CUresult begin_status(std::uint32_t status, CallId call) noexcept {
  if (status != ring::kRecordTooBig) return static_cast<CUresult>(status);
  log("%s: the arguments do not fit a record of the ring", call_name(call));
  return CUDA_ERROR_NOT_SUPPORTED;
}

CUresult require_context_slowly() noexcept {
  if (!is_ready()) return CUDA_ERROR_NOT_INITIALIZED;
  return current_context() == 0 ? CUDA_ERROR_INVALID_CONTEXT : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

CUresult handle_arg(HandleType type, std::uint64_t handle, bool nullable,
                    std::uint64_t* wire) noexcept {
  if (type == HandleType::stream && handle <= 2) {
    *wire = handle;
    if (handle != bits_of(CU_STREAM_PER_THREAD)) return CUDA_SUCCESS;
    CUresult error = CUDA_SUCCESS;
    *wire = per_thread_stream(&error);
    return error;
  }
  if (handle == 0 && nullable) {
    *wire = 0;
    return CUDA_SUCCESS;
  }
  if (type == HandleType::device) {
    *wire = handle;
    return device_facts(static_cast<CUdevice>(handle)) != nullptr ? CUDA_SUCCESS
                                                                  : CUDA_ERROR_INVALID_DEVICE;
  }
  if (type == HandleType::function && is_handle(handle) &&
      handle_type(handle) == static_cast<std::uint8_t>(HandleType::kernel)) {
    type = HandleType::kernel;  // the runtime passes kernels where functions are asked for
  }
  if (is_device_visible(type)) {
    *wire = handle;
    return CUDA_SUCCESS;
  }
  if (!is_handle(handle) || handle_type(handle) != static_cast<std::uint8_t>(type) ||
      handles_of(type).find(handle) == nullptr) {
    return invalid(type);
  }
  *wire = handle;
  return CUDA_SUCCESS;
}

CUresult new_handle_under(HandleType type, std::uint64_t parent, std::uint64_t* wire) noexcept {
  *wire = handles_of(type).add(parent);
  return *wire == 0 ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

CUresult new_handle(HandleType type, std::uint64_t* wire) noexcept {
  return new_handle_under(type, current_context(), wire);
}

void drop_handle(HandleType type, std::uint64_t handle) noexcept {
  handles_of(type).remove(handle);
}

CUresult retire_handle(HandleType type, std::uint64_t handle, std::uint64_t* wire) noexcept {
  if (!is_handle(handle) || handle_type(handle) != static_cast<std::uint8_t>(type) ||
      !handles_of(type).remove(handle)) {
    return invalid(type);
  }
  *wire = handle;
  return CUDA_SUCCESS;
}

// Records carry context 0: the executor has one context for each client, and what a context of the
// program holds is known here (contexts.h).
CUresult send_async(CallId call, const void* fixed, std::size_t fixed_bytes,
                    std::span<const Blob> blobs) noexcept {
  if (!has_ring()) return CUDA_ERROR_NOT_INITIALIZED;
  ring::RecordFields fields;
  fields.op = static_cast<std::uint16_t>(call);
  std::uint8_t* payload = nullptr;
  const std::uint32_t status =
      g_process.producer.begin(fields, codec::payload_bytes(fixed_bytes, blobs), &payload);
  if (status != 0) return begin_status(status, call);
  codec::write_payload(payload, fixed, fixed_bytes, blobs);
  g_process.producer.commit();
  return CUDA_SUCCESS;
}

CUresult send_sync(CallId call, const void* fixed, std::size_t fixed_bytes,
                   std::span<const Blob> blobs, void* reply, std::size_t reply_bytes,
                   std::span<OutBlob> out) noexcept {
  if (!has_ring()) return CUDA_ERROR_NOT_INITIALIZED;
  const std::uint64_t start = g_counts_calls ? ring::monotonic_ns() : 0;
  const BorrowedSlot borrowed(this_thread());
  const std::uint32_t slot = borrowed.index();
  ring::RecordFields fields;
  fields.op = static_cast<std::uint16_t>(call);
  fields.flags = kRecordSync;
  fields.reply_slot = slot;
  fields.sequence = g_process.replies.next_sequence(slot);
  std::uint8_t* payload = nullptr;
  std::uint32_t status =
      g_process.producer.begin(fields, codec::payload_bytes(fixed_bytes, blobs), &payload);
  if (status != 0) return begin_status(status, call);
  codec::write_payload(payload, fixed, fixed_bytes, blobs);
  g_process.producer.commit();

  std::uint32_t answer = 0;
  std::uint32_t bytes = 0;
  status = g_process.replies.wait(slot, fields.sequence, &answer, &bytes);
  if (start != 0) count_wait(call, ring::monotonic_ns() - start);
  if (status != 0) return static_cast<CUresult>(status);
  const bool complete = codec::read_payload(g_process.replies.data(slot), bytes, reply,
                                            reply_bytes, out);
  if (answer == 0 && !complete && (reply_bytes > 8 || !out.empty() || bytes != 0)) {
    log("%s: the executor's reply has another form than this library expects; install client and "
        "executor of one version", call_name(call));
    return CUDA_ERROR_SYSTEM_DRIVER_MISMATCH;
  }
  return static_cast<CUresult>(answer);
}

void log_answer(CallId call, CUresult result) noexcept {
  log("%s answers CUDA error %d", call_name(call), static_cast<int>(result));
}

CUresult report_unsupported(CallId call) noexcept {
  static std::atomic<std::uint8_t> told[0x800];
  const auto id = static_cast<std::uint32_t>(call);
  if (id < 0x800 && told[id].exchange(1, std::memory_order_relaxed) == 0) {
    log("%s is not implemented; it answers CUDA_ERROR_NOT_SUPPORTED", call_name(call));
    if (is_ready()) {
      codec::Req_phos_report_unsupported request{};
      request.call_id = id;
      tell(request);
    }
  }
  return CUDA_ERROR_NOT_SUPPORTED;
}

}  // namespace phos::client
