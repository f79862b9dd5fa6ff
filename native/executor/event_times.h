// SPDX-License-Identifier: Apache-2.0
// Times between events, where one was recorded before a checkpoint and lives on after it.
//
// An image cannot hold when an event was recorded, for the driver tells only times between two. So
// a save notes how long before the cut it was, and a restore marks the moment at which the
// program's time goes on; what lies between the two did not happen for the program.
#pragma once

#include <cstdint>
#include <vector>

#include "executor/object_table.h"
#include "gen/driver_table.h"

namespace phos::executor {

class Session;
struct SavedObject;

class EventTimes {
 public:
  // Object::state of an event that was recorded before the cut, where the driver's own record is
  // that of the restore: kEventRecorded, this bit, and the nanoseconds before the cut above both.
  static constexpr std::uint64_t kBeforeCut = 2;
  static constexpr unsigned kAgeShift = 2;

  // Notes in the states of recorded events how long before now each was reached. One that the
  // device has not reached yet counts as reached now. With the session's lock.
  void save(Session& session, std::vector<SavedObject>& objects) const;
  // From now on the program's time goes on. With the session's lock.
  CUresult restored(Session& session);
  // cuEventElapsedTime of two live events.
  CUresult elapsed(Session& session, const Object& start, const Object& end, float* ms) const;
  // When the session ends, in its context.
  void clear(const DriverTable& driver) noexcept;

 private:
  // Nanoseconds from the object's event to `now`, an event that has been reached.
  CUresult age_of(const DriverTable& driver, const Object& object, CUevent now, double* ns) const;

  CUevent restored_ = nullptr;
};

}  // namespace phos::executor
