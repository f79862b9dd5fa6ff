// SPDX-License-Identifier: Apache-2.0
#include "executor/waits.h"

#include <utility>

#include "executor/helpers.h"
#include "executor/session.h"

namespace phos::executor {

void Waits::settle(CUresult status, Reply& reply, const Finish& finish) {
  if (finish) {
    finish(status, reply);
  } else {
    reply.finish(status);
  }
}

void Waits::answer(Wait& wait, CUresult status) {
  settle(status, wait.reply, wait.finish);
  // Whatever the closure holds goes now, not when the event is collected.
  wait.finish = nullptr;
}

void Waits::add(std::unique_ptr<Wait> wait) {
  open_.fetch_add(1, std::memory_order_acq_rel);
  polled_.push_back(std::move(wait));
}

void Waits::after_stream(CUstream real, Reply& reply, Finish finish) {
  const DriverTable& driver = session_.driver();
  const CUresult now = driver.cuStreamQuery(real);
  if (now != CUDA_ERROR_NOT_READY) {
    settle(now, reply, finish);
    return;
  }
  CUevent event = session_.streams().take_event();
  CUresult result = event == nullptr ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
  if (result == CUDA_SUCCESS) result = driver.cuEventRecord(event, real);
  if (result != CUDA_SUCCESS) {
    if (event != nullptr) session_.streams().give_event(event);
    settle(result, reply, finish);
    return;
  }
  reply.postpone();
  add(std::make_unique<Wait>(Wait{reply, std::move(finish), {event}, {}}));
}

CUstream Waits::take_stream() {
  if (!spare_streams_.empty()) {
    CUstream stream = spare_streams_.back();
    spare_streams_.pop_back();
    return stream;
  }
  CUstream stream = nullptr;
  if (session_.driver().cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) != CUDA_SUCCESS) {
    return nullptr;
  }
  return stream;
}

void Waits::after_event(CUevent real, Reply& reply, Finish finish) {
  const DriverTable& driver = session_.driver();
  const CUresult now = driver.cuEventQuery(real);
  if (now != CUDA_ERROR_NOT_READY) {
    settle(now, reply, finish);
    return;
  }
  // The program may record the event again, or destroy it, while this wait is open: a stream of our
  // own takes over what the event stands for now.
  CUstream stream = take_stream();
  CUevent event = session_.streams().take_event();
  CUresult result =
      stream == nullptr || event == nullptr ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
  if (result == CUDA_SUCCESS) result = driver.cuStreamWaitEvent(stream, real, 0);
  if (result == CUDA_SUCCESS) result = driver.cuEventRecord(event, stream);
  if (result != CUDA_SUCCESS) {
    if (stream != nullptr) spare_streams_.push_back(stream);
    if (event != nullptr) session_.streams().give_event(event);
    settle(result, reply, finish);
    return;
  }
  reply.postpone();
  add(std::make_unique<Wait>(Wait{reply, std::move(finish), {event}, {stream}}));
}

void Waits::after_all(Reply& reply, Finish finish) {
  auto wait = std::make_unique<Wait>(Wait{reply, std::move(finish), {}, {}});
  CUresult result = session_.streams().record_all(wait->events);
  // A context in error looks idle: it says so itself.
  if (result == CUDA_SUCCESS && wait->events.empty() && session_.streams().captures() == 0) {
    result = session_.driver().cuCtxSynchronize(session_.context());
  }
  if (result != CUDA_SUCCESS || wait->events.empty()) {
    give_back(*wait);
    settle(result, reply, wait->finish);
    return;
  }
  reply.postpone();
  add(std::move(wait));
}

void Waits::give_back(Wait& wait) {
  for (CUevent event : wait.events) session_.streams().give_event(event);
  for (CUstream stream : wait.streams) spare_streams_.push_back(stream);
  wait.events.clear();
  wait.streams.clear();
}

void Waits::collect() {
  std::vector<std::unique_ptr<Wait>> returned;
  {
    const std::lock_guard lock(returned_mutex_);
    returned.swap(returned_);
  }
  for (auto& wait : returned) give_back(*wait);
}

void Waits::poll() {
  collect();
  const DriverTable& driver = session_.driver();
  for (auto it = polled_.begin(); it != polled_.end();) {
    Wait& wait = **it;
    CUresult status = CUDA_SUCCESS;
    while (!wait.events.empty()) {
      status = driver.cuEventQuery(wait.events.back());
      if (status != CUDA_SUCCESS) break;
      session_.streams().give_event(wait.events.back());
      wait.events.pop_back();
    }
    if (status == CUDA_ERROR_NOT_READY) {
      ++it;
      continue;
    }
    answer(wait, status);
    give_back(wait);
    it = polled_.erase(it);
    open_.fetch_sub(1, std::memory_order_acq_rel);
  }
}

void Waits::hand_over() {
  while (!polled_.empty()) {
    auto shared = std::make_shared<std::unique_ptr<Wait>>(std::move(polled_.front()));
    const bool taken = session_.helpers().try_run([this, shared] {
      Wait& wait = **shared;
      CUresult status = CUDA_SUCCESS;
      for (CUevent event : wait.events) {
        status = session_.driver().cuEventSynchronize(event);
        if (status != CUDA_SUCCESS) break;
      }
      answer(wait, status);
      const std::lock_guard lock(returned_mutex_);
      returned_.push_back(std::move(*shared));
      open_.fetch_sub(1, std::memory_order_acq_rel);
    });
    if (!taken) {
      // Every helper is blocked: the drain goes on polling the rest.
      polled_.front() = std::move(*shared);
      return;
    }
    polled_.pop_front();
  }
}

void Waits::drop_objects() {
  collect();
  for (CUstream stream : spare_streams_) session_.driver().cuStreamDestroy(stream);
  spare_streams_.clear();
}

}  // namespace phos::executor
