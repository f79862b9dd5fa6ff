// SPDX-License-Identifier: Apache-2.0
#include "executor/event_times.h"

#include <algorithm>

#include "executor/device_port.h"
#include "executor/session.h"
#include "executor/snapshot.h"

namespace phos::executor {

namespace {

constexpr double kNsPerMs = 1e6;

bool is_from_before(const Object& object) { return (object.state & EventTimes::kBeforeCut) != 0; }
double noted_age_ns(const Object& object) {
  return static_cast<double>(object.state >> EventTimes::kAgeShift);
}

// An event that has been reached, on a stream that waits for no other.
class Now {
 public:
  explicit Now(const DriverTable& driver) : driver_(driver) {
    const char* const step = "Noting when events were recorded";
    check_driver(driver, driver.cuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING), step);
    CUresult result = driver.cuEventCreate(&event_, CU_EVENT_DEFAULT);
    if (result == CUDA_SUCCESS) result = driver.cuEventRecord(event_, stream_);
    if (result == CUDA_SUCCESS) result = driver.cuEventSynchronize(event_);
    if (result == CUDA_SUCCESS) return;
    drop();
    check_driver(driver, result, step);
  }
  ~Now() { drop(); }
  Now(const Now&) = delete;
  Now& operator=(const Now&) = delete;
  CUevent event() const noexcept { return event_; }

 private:
  void drop() noexcept {
    if (event_ != nullptr) driver_.cuEventDestroy(event_);
    driver_.cuStreamDestroy(stream_);
  }

  const DriverTable& driver_;
  CUstream stream_ = nullptr;
  CUevent event_ = nullptr;
};

}  // namespace

CUresult EventTimes::age_of(const DriverTable& driver, const Object& object, CUevent now,
                            double* ns) const {
  const bool before = is_from_before(object);
  if (before && restored_ == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  const CUevent since = before ? restored_ : static_cast<CUevent>(object.real);
  float ms = 0;
  const CUresult result = driver.cuEventElapsedTime(&ms, since, now);
  *ns = static_cast<double>(ms) * kNsPerMs + (before ? noted_age_ns(object) : 0);
  return result;
}

void EventTimes::save(Session& session, std::vector<SavedObject>& objects) const {
  const auto is_recorded = [](const SavedObject& one) {
    return one.live && one.type == HandleType::event && (one.state & kEventRecorded) != 0;
  };
  if (std::none_of(objects.begin(), objects.end(), is_recorded)) return;
  const Now now(session.driver());
  for (SavedObject& saved : objects) {
    if (!is_recorded(saved)) continue;
    const Object* object = session.find(saved.type, saved.wire);
    double ns = 0;
    // It fails for events without times, which nobody can ask, and for those not reached yet.
    if (object == nullptr || age_of(session.driver(), *object, now.event(), &ns) != CUDA_SUCCESS) {
      ns = 0;
    }
    const auto whole = static_cast<std::uint64_t>(std::max(ns, 0.0));
    saved.state = kEventRecorded | kBeforeCut | whole << kAgeShift;
  }
}

CUresult EventTimes::restored(Session& session) {
  const DriverTable& driver = session.driver();
  CUresult result = CUDA_SUCCESS;
  if (restored_ == nullptr) result = driver.cuEventCreate(&restored_, CU_EVENT_DEFAULT);
  return result == CUDA_SUCCESS ? driver.cuEventRecord(restored_, nullptr) : result;
}

CUresult EventTimes::elapsed(Session& session, const Object& start, const Object& end,
                             float* ms) const {
  const DriverTable& driver = session.driver();
  // What the driver answers decides about errors; an event of before was recorded at the restore.
  const CUresult result = driver.cuEventElapsedTime(ms, static_cast<CUevent>(start.real),
                                                    static_cast<CUevent>(end.real));
  const bool started_before = is_from_before(start);
  const bool ended_before = is_from_before(end);
  if (result != CUDA_SUCCESS || (!started_before && !ended_before)) return result;
  if (started_before && ended_before) {
    *ms = static_cast<float>((noted_age_ns(start) - noted_age_ns(end)) / kNsPerMs);
    return CUDA_SUCCESS;
  }
  const Object& before = started_before ? start : end;
  const Object& after = started_before ? end : start;
  double ns = 0;
  const CUresult told = age_of(driver, before, static_cast<CUevent>(after.real), &ns);
  *ms = static_cast<float>((started_before ? ns : -ns) / kNsPerMs);
  return told;
}

void EventTimes::clear(const DriverTable& driver) noexcept {
  if (restored_ != nullptr) driver.cuEventDestroy(restored_);
  restored_ = nullptr;
}

}  // namespace phos::executor
