// SPDX-License-Identifier: Apache-2.0
#include "executor/streams.h"

namespace phos::executor {

Streams::~Streams() { drop_events(); }

void Streams::submitted(std::uint64_t wire, CUstream real, std::uint64_t function) {
  if (wire != last_wire_ || last_state_ == nullptr) {
    last_wire_ = wire;
    last_state_ = &states_[wire];
    last_state_->real = real;
  }
  count(*last_state_, function);
}

void Streams::mark(State& state) {
  state.since_mark = 0;
  if (captures_ != 0 && is_capturing(state.real)) {
    // Captured commands do not run: they are not outstanding.
    state.passed_count = state.count;
    state.passed_sequence = state.last_sequence;
    return;
  }
  advance(state);
  CUevent event = take_event();
  if (event == nullptr) return;
  if (driver_.cuEventRecord(event, state.real) != CUDA_SUCCESS) {
    // The stream is in error; the next call that answers says so.
    give_event(event);
    return;
  }
  state.markers.push_back({event, state.count, state.last_sequence});
}

void Streams::advance(State& state) {
  while (!state.markers.empty()) {
    const Marker& marker = state.markers.front();
    const CUresult result = driver_.cuEventQuery(marker.event);
    if (result == CUDA_ERROR_NOT_READY) return;
    // Success, or a context in error, in which nothing runs any more.
    state.passed_count = marker.count;
    state.passed_sequence = marker.sequence;
    give_event(marker.event);
    state.markers.pop_front();
  }
}

bool Streams::is_full_after_look(std::uint64_t wire) {
  State* state = last_state_;
  if (wire != last_wire_ || state == nullptr) {
    const auto found = states_.find(wire);
    if (found == states_.end()) return false;
    state = &found->second;
  }
  if (state->count - state->passed_count < kMaxOutstanding) return false;
  advance(*state);
  return state->count - state->passed_count >= kMaxOutstanding;
}

void Streams::forget(std::uint64_t wire) {
  const auto found = states_.find(wire);
  if (found == states_.end()) return;
  if (&found->second == last_state_) {
    last_state_ = nullptr;
    last_wire_ = ~std::uint64_t{0};
  }
  if (!query_idle(found->second)) {
    mark(found->second);
    orphans_.push_back(std::move(found->second));
  }
  states_.erase(found);
}

bool Streams::orphans_passed(std::uint64_t stamp) {
  bool all = true;
  std::erase_if(orphans_, [&](State& state) {
    advance(state);
    if (state.markers.empty()) return true;
    all = all && state.passed_sequence >= stamp;
    return false;
  });
  return all;
}

bool Streams::is_capturing(CUstream real) {
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  return driver_.cuStreamIsCapturing(real, &status) == CUDA_SUCCESS &&
         status != CU_STREAM_CAPTURE_STATUS_NONE;
}

bool Streams::query_idle(State& state) {
  if (state.passed_sequence == state.last_sequence) return true;
  const bool capturing = captures_ != 0 && is_capturing(state.real);
  if (!capturing && driver_.cuStreamQuery(state.real) == CUDA_ERROR_NOT_READY) {
    advance(state);
    return false;
  }
  state.passed_count = state.count;
  state.passed_sequence = state.last_sequence;
  for (const Marker& marker : state.markers) give_event(marker.event);
  state.markers.clear();
  state.since_mark = 0;
  return true;
}

bool Streams::passed(std::uint64_t stamp) {
  bool all = orphans_.empty() || orphans_passed(stamp);
  for (auto& [wire, state] : states_) {
    if (state.passed_sequence >= stamp || query_idle(state)) continue;
    if (state.passed_sequence < stamp) all = false;
  }
  return all;
}

bool Streams::idle() {
  bool all = orphans_.empty() || orphans_passed(~std::uint64_t{0});
  for (auto& [wire, state] : states_) all = query_idle(state) && all;
  return all;
}

bool Streams::first_busy(std::uint64_t* wire, std::uint64_t* function) {
  for (auto& [name, state] : states_) {
    if (query_idle(state)) continue;
    *wire = name;
    *function = state.function;
    return true;
  }
  return false;
}

CUresult Streams::record_all(std::vector<CUevent>& events) {
  for (auto& [wire, state] : states_) {
    if (query_idle(state)) continue;
    CUevent event = take_event();
    if (event == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
    const CUresult result = driver_.cuEventRecord(event, state.real);
    if (result != CUDA_SUCCESS) {
      give_event(event);
      return result;
    }
    events.push_back(event);
  }
  for (State& state : orphans_) {
    advance(state);
    if (state.markers.empty()) continue;
    // The marker goes to the waiter; the stream it was on takes nothing more.
    events.push_back(state.markers.back().event);
    state.markers.pop_back();
    while (!state.markers.empty()) {
      give_event(state.markers.back().event);
      state.markers.pop_back();
    }
  }
  return CUDA_SUCCESS;
}

CUresult Streams::each_busy(
    const std::function<CUresult(CUstream real, CUevent marker)>& visit) {
  for (auto& [wire, state] : states_) {
    if (query_idle(state)) continue;
    if (const CUresult result = visit(state.real, nullptr); result != CUDA_SUCCESS) return result;
  }
  for (State& state : orphans_) {
    advance(state);
    if (state.markers.empty()) continue;
    const CUresult result = visit(nullptr, state.markers.back().event);
    if (result != CUDA_SUCCESS) return result;
  }
  return CUDA_SUCCESS;
}

CUevent Streams::take_event() {
  if (!spare_.empty()) {
    CUevent event = spare_.back();
    spare_.pop_back();
    return event;
  }
  CUevent event = nullptr;
  if (driver_.cuEventCreate(&event, CU_EVENT_DISABLE_TIMING | CU_EVENT_BLOCKING_SYNC) !=
      CUDA_SUCCESS) return nullptr;
  return event;
}

void Streams::give_event(CUevent event) { spare_.push_back(event); }

void Streams::drop_events() {
  for (auto& [wire, state] : states_) {
    for (const Marker& marker : state.markers) spare_.push_back(marker.event);
    state.markers.clear();
  }
  for (State& state : orphans_) {
    for (const Marker& marker : state.markers) spare_.push_back(marker.event);
  }
  orphans_.clear();
  for (CUevent event : spare_) driver_.cuEventDestroy(event);
  spare_.clear();
  states_.clear();
  last_state_ = nullptr;
  last_wire_ = ~std::uint64_t{0};
}

}  // namespace phos::executor
