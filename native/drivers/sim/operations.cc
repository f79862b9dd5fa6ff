// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/operations.h"

#include <algorithm>
#include <cstring>

#include "drivers/sim/host_thread.h"
#include "drivers/sim/memory.h"
#include "drivers/sim/pool.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

// With the seeded scheduler a copy or memset stops at random after at most this much.
constexpr std::uint64_t kSeededPiece = 64U << 10;

struct View {
  std::byte* host = nullptr;
  std::uint64_t bytes = 0;  // that lie together from there on
};

// Memory behind `address`; nothing if the device cannot reach it. A copy may write constant memory
// and read-only mappings only through cuMemSetAccess, so `writable` asks for the right.
View look(bool is_device, std::uint64_t address, bool writable) {
  if (!is_device) {
    return {reinterpret_cast<std::byte*>(address), ~0ULL};
  }
  const auto extent = runtime().memory->space().find(address);
  const bool locked = extent && (extent->flags & kExtentReadOnly) != 0 &&
                      (extent->flags & kExtentConst) == 0;
  if (!extent || (writable && locked)) {
    return {};
  }
  const std::uint64_t skip = address - extent->address;
  return {extent->host + skip, extent->bytes - skip};
}

bool copy_bytes(const Endpoint& to, std::uint64_t to_offset, const Endpoint& from,
                std::uint64_t from_offset, std::uint64_t bytes) {
  std::uint64_t at = 0;
  while (at < bytes) {
    const View target = look(to.is_device, to.address + to_offset + at, true);
    const View source = look(from.is_device, from.address + from_offset + at, false);
    if (target.host == nullptr || source.host == nullptr) {
      return false;
    }
    const std::uint64_t step = std::min({bytes - at, target.bytes, source.bytes});
    // SAFETY: look() has shown that `step` bytes lie behind both; they may overlap.
    std::memmove(target.host, source.host, static_cast<std::size_t>(step));
    at += step;
  }
  return true;
}

std::uint64_t row_offset(const Endpoint& side, std::uint64_t row, std::uint64_t height) noexcept {
  return row / height * side.slice_pitch + row % height * side.row_pitch;
}

bool is_contiguous(const CopyShape& shape) noexcept {
  const auto dense = [&shape](const Endpoint& side) {
    return (shape.height == 1 || side.row_pitch == shape.width) &&
           (shape.depth == 1 || side.slice_pitch == shape.width * shape.height);
  };
  return dense(shape.destination) && dense(shape.source);
}

// Several rows that lie together are copied as one.
CopyShape flattened(const CopyShape& shape) noexcept {
  if (shape.height * shape.depth == 1 || !is_contiguous(shape)) {
    return shape;
  }
  CopyShape flat = shape;
  flat.width = shape.width * shape.height * shape.depth;
  flat.height = 1;
  flat.depth = 1;
  return flat;
}

void fill(std::byte* at, std::uint64_t elements, std::uint32_t value, std::uint32_t bytes) {
  if (bytes == 1) {
    std::memset(at, static_cast<int>(value & 0xFF), elements);
    return;
  }
  for (std::uint64_t i = 0; i < elements; ++i) {
    // SAFETY: the caller has found room for all elements; memcpy because nothing is aligned.
    std::memcpy(at + i * bytes, &value, bytes);
  }
}

Fault out_of_range(const char* what, std::uint64_t address) {
  char text[128];
  std::snprintf(text, sizeof text, "%s reached memory that is not mapped, at or behind 0x%llx",
                what, static_cast<unsigned long long>(address));
  return {CUDA_ERROR_ILLEGAL_ADDRESS, text};
}

}  // namespace

bool copy_now(const CopyShape& wanted) {
  const CopyShape shape = flattened(wanted);
  for (std::uint64_t row = 0; row < shape.height * shape.depth; ++row) {
    if (!copy_bytes(shape.destination, row_offset(shape.destination, row, shape.height),
                    shape.source, row_offset(shape.source, row, shape.height), shape.width)) {
      return false;
    }
  }
  return true;
}

bool CopyOperation::copy_piece(std::uint64_t row, std::uint64_t column, std::uint64_t bytes) {
  Endpoint source = shape_.source;
  std::uint64_t from = row_offset(source, row, shape_.height) + column;
  if (staged_) {
    source = {false, reinterpret_cast<std::uint64_t>(staged_->data()), 0, 0};
    from = row * shape_.width + column;
  }
  const std::uint64_t to = row_offset(shape_.destination, row, shape_.height) + column;
  return copy_bytes(shape_.destination, to, source, from, bytes);
}

Step CopyOperation::step(Turn& turn) {
  if (row_ == 0 && column_ == 0 && !staged_) {
    shape_ = flattened(shape_);
  }
  const std::uint64_t rows = shape_.height * shape_.depth;
  std::uint64_t budget =
      turn.random != nullptr ? 1 + (*turn.random)() % kSeededPiece : ~0ULL;
  while (row_ < rows && shape_.width != 0) {
    if (budget == 0) {
      return Step::more;
    }
    const std::uint64_t bytes = std::min(shape_.width - column_, budget);
    if (!copy_piece(row_, column_, bytes)) {
      fault_ = out_of_range("a copy", shape_.source.is_device ? shape_.source.address
                                                              : shape_.destination.address);
      return Step::fault;
    }
    budget -= bytes;
    column_ += bytes;
    if (column_ == shape_.width) {
      column_ = 0;
      ++row_;
    }
  }
  return Step::done;
}

Step MemsetOperation::step(Turn& turn) {
  std::uint64_t budget =
      turn.random != nullptr ? 1 + (*turn.random)() % kSeededPiece : ~0ULL;
  for (; row_ < shape_.height; ++row_) {
    if (budget == 0) {
      return Step::more;
    }
    std::uint64_t address = shape_.address + row_ * shape_.pitch;
    std::uint64_t left = shape_.width;
    budget -= std::min(budget, left * shape_.element_bytes);
    while (left != 0) {
      const View view = look(true, address, true);
      const std::uint64_t elements = std::min(left, view.bytes / shape_.element_bytes);
      if (elements == 0) {
        fault_ = out_of_range("a memset", shape_.address);
        return Step::fault;
      }
      fill(view.host, elements, shape_.value, shape_.element_bytes);
      left -= elements;
      address += elements * shape_.element_bytes;
    }
  }
  return Step::done;
}

void RecordOperation::submitted(Stream& /*stream*/) {
  fence_ = std::make_shared<Fence>();
  event_->fence = fence_;
  event_->recorded = true;
  event_->status = CUDA_SUCCESS;
}

void RecordOperation::finished(CUresult status) {
  const std::uint64_t now = now_ns();
  fence_->complete(status, now);
  // An event that was recorded again meanwhile means the newer record.
  if (event_->fence == fence_) {
    event_->fence = nullptr;
    event_->time_ns = now;
    event_->status = status;
  }
}

void WaitOperation::submitted(Stream& /*stream*/) {
  if (event_) {
    fence_ = event_->fence;
  }
}

void HostOperation::finished(CUresult status) {
  if (status == CUDA_SUCCESS || callback_ == nullptr || call_) {
    return;
  }
  // Callbacks are told of the death of their context; host functions are not called any more.
  run_on_host_thread([callback = callback_, stream = stream_, data = data_, status] {
    callback(stream, status, data);
  });
}

bool HostOperation::ready() { return !call_ || call_->done; }

Step HostOperation::step(Turn& /*turn*/) {
  if (call_) {
    return Step::done;
  }
  call_ = std::make_shared<Call>();
  run_on_host_thread([call = call_, function = function_, callback = callback_, stream = stream_,
                      data = data_] {
    if (function != nullptr) {
      function(data);
    } else {
      callback(stream, CUDA_SUCCESS, data);
    }
    Entry entry;
    call->done = true;
    runtime().scheduler.signal();
  });
  return Step::blocked;
}

void FreeOperation::finished(CUresult /*status*/) { free_allocation(address_); }

}  // namespace phos::sim
