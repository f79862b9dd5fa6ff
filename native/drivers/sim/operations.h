// SPDX-License-Identifier: Apache-2.0
// The operations that are not kernels or graphs.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "drivers/sim/context.h"
#include "drivers/sim/operation.h"
#include "phos/cuda_abi.h"

namespace phos::sim {

// One side of a copy: an address that the device translates, or plain memory of this process.
struct Endpoint {
  bool is_device = true;
  std::uint64_t address = 0;     // of the first byte
  std::uint64_t row_pitch = 0;   // bytes between rows
  std::uint64_t slice_pitch = 0; // bytes between slices
};

// A box of width x height x depth: width in bytes, the others in rows and slices.
struct CopyShape {
  Endpoint destination;
  Endpoint source;
  std::uint64_t width = 0;
  std::uint64_t height = 1;
  std::uint64_t depth = 1;
};

class CopyOperation final : public Operation {
 public:
  explicit CopyOperation(const CopyShape& shape) : shape_(shape) {}
  // Copies from `staged` instead of the source's address: what a pageable source held at the call.
  CopyOperation(const CopyShape& shape, std::vector<std::uint8_t> staged)
      : shape_(shape), staged_(std::make_shared<std::vector<std::uint8_t>>(std::move(staged))) {}
  Step step(Turn& turn) override;
  std::unique_ptr<Operation> clone() const override {
    auto copy = std::make_unique<CopyOperation>(*this);
    copy->row_ = 0;
    copy->column_ = 0;
    return copy;
  }
  const CopyShape& shape() const noexcept { return shape_; }

 private:
  bool copy_piece(std::uint64_t row, std::uint64_t column, std::uint64_t bytes);

  CopyShape shape_;
  std::shared_ptr<std::vector<std::uint8_t>> staged_;
  std::uint64_t row_ = 0;     // next row, counted through all slices
  std::uint64_t column_ = 0;  // next byte within it
};

struct MemsetShape {
  std::uint64_t address = 0;
  std::uint64_t pitch = 0;
  std::uint32_t value = 0;
  std::uint32_t element_bytes = 1;  // 1, 2 or 4
  std::uint64_t width = 0;          // in elements
  std::uint64_t height = 1;
};

class MemsetOperation final : public Operation {
 public:
  explicit MemsetOperation(const MemsetShape& shape) : shape_(shape) {}
  Step step(Turn& turn) override;
  std::unique_ptr<Operation> clone() const override {
    auto copy = std::make_unique<MemsetOperation>(*this);
    copy->row_ = 0;
    return copy;
  }
  const MemsetShape& shape() const noexcept { return shape_; }

 private:
  MemsetShape shape_;
  std::uint64_t row_ = 0;
};

// Does nothing: a marker, an empty node.
class EmptyOperation final : public Operation {
 public:
  Step step(Turn& /*turn*/) override { return Step::done; }
  std::unique_ptr<Operation> clone() const override { return std::make_unique<EmptyOperation>(); }
};

class RecordOperation final : public Operation {
 public:
  explicit RecordOperation(std::shared_ptr<Event> event) : event_(std::move(event)) {}
  void submitted(Stream& stream) override;
  Step step(Turn& /*turn*/) override { return Step::done; }
  void finished(CUresult status) override;
  std::unique_ptr<Operation> clone() const override {
    return std::make_unique<RecordOperation>(event_);
  }
  const std::shared_ptr<Event>& event() const noexcept { return event_; }

 private:
  std::shared_ptr<Event> event_;
  std::shared_ptr<Fence> fence_;
};

class WaitOperation final : public Operation {
 public:
  explicit WaitOperation(std::shared_ptr<Event> event) : event_(std::move(event)) {}
  explicit WaitOperation(std::shared_ptr<Fence> fence) : fence_(std::move(fence)) {}
  void submitted(Stream& stream) override;
  bool ready() override { return !fence_ || fence_->done; }
  Step step(Turn& /*turn*/) override { return Step::done; }
  std::unique_ptr<Operation> clone() const override {
    return std::make_unique<WaitOperation>(event_);
  }
  const std::shared_ptr<Event>& event() const noexcept { return event_; }

 private:
  std::shared_ptr<Event> event_;  // of a graph node: what is waited for is found at each launch
  std::shared_ptr<Fence> fence_;
};

// Waits for and writes of 32- and 64-bit words, one after the other.
class MemoryOperation final : public Operation {
 public:
  explicit MemoryOperation(std::vector<CUstreamBatchMemOpParams> list) : list_(std::move(list)) {}
  bool ready() override;
  bool polls() const override { return true; }
  Step step(Turn& turn) override;
  std::unique_ptr<Operation> clone() const override {
    return std::make_unique<MemoryOperation>(list_);
  }
  const std::vector<CUstreamBatchMemOpParams>& list() const noexcept { return list_; }

 private:
  std::vector<CUstreamBatchMemOpParams> list_;
  std::size_t next_ = 0;
};

// A function of the program, called on a thread of its own while the stream waits.
class HostOperation final : public Operation {
 public:
  HostOperation(CUhostFn function, void* data) : function_(function), data_(data) {}
  // cuStreamAddCallback: also called, with the error, when the context has died.
  HostOperation(CUstreamCallback callback, CUstream stream, void* data)
      : callback_(callback), stream_(stream), data_(data) {}
  bool ready() override;
  Step step(Turn& turn) override;
  void finished(CUresult status) override;
  std::unique_ptr<Operation> clone() const override {
    auto copy = std::make_unique<HostOperation>(function_, data_);
    return copy;
  }
  CUhostFn function() const noexcept { return function_; }
  void* data() const noexcept { return data_; }

 private:
  struct Call {
    bool done = false;  // guarded by the runtime lock
  };
  CUhostFn function_ = nullptr;
  CUstreamCallback callback_ = nullptr;
  CUstream stream_ = nullptr;
  void* data_ = nullptr;
  std::shared_ptr<Call> call_;  // set when it was handed to the other thread
};

// Stream-ordered free of an allocation.
class FreeOperation final : public Operation {
 public:
  explicit FreeOperation(std::uint64_t address) : address_(address) {}
  Step step(Turn& /*turn*/) override { return Step::done; }
  void finished(CUresult status) override;
  std::unique_ptr<Operation> clone() const override {
    return std::make_unique<FreeOperation>(address_);
  }

 private:
  std::uint64_t address_;
};

// Copies at once, on the calling thread. False: an address does not translate.
bool copy_now(const CopyShape& shape);

}  // namespace phos::sim
