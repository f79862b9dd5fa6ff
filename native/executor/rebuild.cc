// SPDX-License-Identifier: Apache-2.0
// From a snapshot to a session: objects, their changes and what made the driver place things, in
// the order of the program.
#include <algorithm>
#include <cinttypes>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <optional>

#include "executor/arrays.h"
#include "executor/captures.h"
#include "executor/checkpoint.h"
#include "executor/device_port.h"
#include "executor/failure.h"
#include "executor/fault.h"
#include "gen/codec.h"

namespace phos::executor {

// A step that waits for the client's host memory, with what it needs of the image.
struct Later {
  std::uint64_t order = 0;
  std::optional<SavedObject> object;
  std::optional<SavedCommand> change;
  std::optional<Placement> placement;
};

namespace {

// One thing to repeat. Exactly one of the three is there, `object` also beside `change`.
struct Step {
  std::uint64_t order = 0;
  const SavedObject* object = nullptr;
  const SavedCommand* change = nullptr;
  const Placement* placement = nullptr;
};

std::vector<Step> steps_of(const Snapshot& snapshot) {
  std::vector<Step> steps;
  for (const SavedObject& object : snapshot.objects) {
    steps.push_back({object.creation, &object, nullptr, nullptr});
    for (const SavedCommand& change : object.mutations) {
      steps.push_back({change.order, &object, &change, nullptr});
    }
  }
  for (const Placement& placement : snapshot.placements) {
    steps.push_back({placement.order, nullptr, nullptr, &placement});
  }
  std::stable_sort(steps.begin(), steps.end(),
                   [](const Step& a, const Step& b) { return a.order < b.order; });
  return steps;
}

// The number under which a load command expects its image.
std::uint64_t image_number(const SavedCommand& command) {
  const auto call = static_cast<CallId>(command.op);
  std::size_t at = 0;
  if (call == CallId::phos_module_load) {
    at = offsetof(codec::Req_phos_module_load, image);
  } else if (call == CallId::phos_library_load) {
    at = offsetof(codec::Req_phos_library_load, image);
  } else {
    return 0;
  }
  std::uint64_t number = 0;
  if (command.payload.size() >= at + sizeof(number)) {
    std::memcpy(&number, command.payload.data() + at, sizeof(number));
  }
  return number;
}

[[noreturn]] void refuse_object(const SavedObject& object, CUresult status, const char* step) {
  throw Failure(Code::device,
                std::string("Restoring ") + name_of_object(object.type, object.wire) + ": " +
                    call_name(static_cast<CallId>(object.create.op)) + " " + step +
                    " answered CUDA error " + std::to_string(status) +
                    ". Restore on a device and driver like those of the image.",
                {{"type", handle_type_name(object.type)}, {"status", std::to_string(status)}});
}

class Rebuild {
 public:
  Rebuild(Session& session, Drain& drain, const std::map<Digest, Blob>& blobs)
      : session_(session), drain_(drain), blobs_(blobs) {}

  void run(const std::vector<Step>& steps) {
    for (const Step& step : steps) {
      // Whatever is remembered of the step gets the number that it had.
      session_.objects().continue_at(step.order);
      if (step.placement != nullptr) {
        place(*step.placement);
      } else if (step.change != nullptr) {
        change(*step.object, *step.change);
      } else {
        create(*step.object);
      }
    }
  }

 private:
  void create(const SavedObject& saved) {
    if (fault_point("load.object") != 0) refuse_object(saved, CUDA_ERROR_UNKNOWN, "(injected)");
    if (is_code(saved.type)) {
      session_.blobs().put(image_number(saved.create), blobs_.at(saved.image));
    }
    const CUresult status = saved.recipe.empty() ? drain_.replay(saved.create).status
                                                 : capture_again(session_, drain_, saved);
    if (status != CUDA_SUCCESS) refuse_object(saved, status, "");
    Object* object = session_.find(saved.type, saved.wire);
    if (object == nullptr) refuse_object(saved, CUDA_ERROR_INVALID_HANDLE, "(no object)");
    if (saved.type == HandleType::array) {
      const CUresult filled = write_array(session_, *object, blobs_.at(saved.image));
      if (filled != CUDA_SUCCESS) refuse_object(saved, filled, "(its elements)");
    }
    object->creation = saved.creation;
    object->state = saved.state;
    object->value = saved.value;
  }

  void change(const SavedObject& saved, const SavedCommand& command) {
    const CapturedReply answer = drain_.replay(command);
    if (answer.status != CUDA_SUCCESS) refuse_object(saved, answer.status, "(a change)");
  }

  void place(const Placement& placement) {
    switch (placement.kind) {
      case PlacementKind::use: {
        // An error is no reason to refuse: the program's own first use may have failed in the same
        // way, and what lies elsewhere because of it is found in the comparison.
        void* real = nullptr;
        session_.resolve_use(placement.type, placement.wire, &real);
        return;
      }
      case PlacementKind::unload: return unload(placement);
      case PlacementKind::change: return change_context(placement);
      case PlacementKind::variable: {
        CUdeviceptr address = 0;
        std::size_t bytes = 0;
        // Where it lies now is compared when everything is there.
        session_.find_variable(placement.type, placement.wire, placement.name, &address, &bytes);
      }
    }
  }

  // What only had to be there for a time. It is history again, for the next dump.
  void unload(const Placement& placement) {
    void* real = nullptr;
    CUresult result = session_.resolve(placement.type, placement.wire, false, &real);
    if (result == CUDA_SUCCESS) result = unload_real(placement.type, real);
    if (result == CUDA_SUCCESS) result = session_.destroy(placement.type, placement.wire);
    if (result == CUDA_SUCCESS) return;
    throw Failure(Code::device, "Unloading " + name_of_object(placement.type, placement.wire) +
                                    ", which the program had unloaded, answered CUDA error " +
                                    std::to_string(result) + ".");
  }

  CUresult unload_real(HandleType type, void* real) {
    const DriverTable& driver = session_.driver();
    if (type == HandleType::module) return driver.cuModuleUnload(static_cast<CUmodule>(real));
    if (type == HandleType::library) return driver.cuLibraryUnload(static_cast<CUlibrary>(real));
    return driver.cuGraphDestroy(static_cast<CUgraph>(real));
  }

  void change_context(const Placement& placement) {
    const CapturedReply answer = drain_.replay(placement.command);
    if (answer.status == CUDA_SUCCESS) return;
    throw Failure(Code::device,
                  std::string("Restoring the context: ") +
                      call_name(static_cast<CallId>(placement.command.op)) +
                      " answered CUDA error " + std::to_string(answer.status) +
                      ". Restore on a device and driver like those of the image.");
  }

  Session& session_;
  Drain& drain_;
  const std::map<Digest, Blob>& blobs_;
};

bool is_graph_type(HandleType type) noexcept {
  return type == HandleType::graph || type == HandleType::graph_node ||
         type == HandleType::graph_exec;
}

// Where host memory takes part in a graph, takes out the steps of all graphs: handles are used
// again, so that all of them must be made in their order.
std::vector<Later> take_later(std::vector<Step>& steps) {
  const auto waits = [](const Step& step) {
    return is_graph_type(step.placement != nullptr ? step.placement->type : step.object->type);
  };
  std::vector<Later> later;
  if (std::none_of(steps.begin(), steps.end(), [](const Step& step) {
        return step.object != nullptr && needs_arenas(*step.object);
      })) {
    return later;
  }
  std::vector<Step> now;
  for (const Step& step : steps) {
    if (!waits(step)) {
      now.push_back(step);
      continue;
    }
    Later one;
    one.order = step.order;
    if (step.object != nullptr) one.object = *step.object;
    if (step.change != nullptr) one.change = *step.change;
    if (step.placement != nullptr) one.placement = *step.placement;
    later.push_back(std::move(one));
  }
  steps = std::move(now);
  return later;
}

// Says on stderr, which is the executor's log, where a variable was and is.
void report_elsewhere(const Region& variable, bool found, std::uint64_t address,
                      std::uint64_t bytes) {
  std::fprintf(stderr,
               "phos: variable %s of %s: saved at 0x%" PRIx64 " (%" PRIu64
               " bytes), now at 0x%" PRIx64 " (%" PRIu64 " bytes)%s\n",
               variable.name.c_str(),
               name_of_object(static_cast<HandleType>(handle_type(variable.module)),
                              variable.module)
                   .c_str(),
               variable.address, variable.bytes, address, bytes, found ? "" : ", not found");
}

void compare_variables(Session& session, const Snapshot& snapshot) {
  const Region* first = nullptr;
  std::uint64_t first_address = 0;
  std::size_t differ = 0;
  for (const Region& variable : snapshot.variables) {
    const auto type = static_cast<HandleType>(handle_type(variable.module));
    CUdeviceptr address = 0;
    std::size_t bytes = 0;
    const bool found = is_handle(variable.module) && is_code(type) &&
                       session.find_variable(type, variable.module, variable.name, &address,
                                             &bytes) == CUDA_SUCCESS;
    if (found && address == variable.address && bytes == variable.bytes) continue;
    report_elsewhere(variable, found, address, bytes);
    if (differ++ != 0) continue;
    first = &variable;
    first_address = address;
  }
  if (first == nullptr) return;
  throw Failure(Code::unsupported,
                "The driver placed the variable " + first->name +
                    " elsewhere than in the image, and device code may hold its address. "
                    "Restore on the same device and driver version.",
                {{"variable", first->name},
                 {"saved", std::to_string(first->address)},
                 {"now", std::to_string(first_address)},
                 {"differ", std::to_string(differ)},
                 {"variables", std::to_string(snapshot.variables.size())}});
}

void mark_events(Session& session, const Snapshot& snapshot) {
  bool marked = false;
  for (const SavedObject& saved : snapshot.objects) {
    if (saved.type != HandleType::event || (saved.state & kEventRecorded) == 0) continue;
    if (!marked) {
      check_driver(session.driver(), session.event_times().restored(session),
                   "Marking where the program's time goes on");
      marked = true;
    }
    const Object* object = session.find(saved.type, saved.wire);
    if (object == nullptr) continue;
    const CUresult result =
        session.driver().cuEventRecord(static_cast<CUevent>(object->real), nullptr);
    if (result != CUDA_SUCCESS) refuse_object(saved, result, "(cuEventRecord)");
  }
}

}  // namespace

LaterSteps rebuild(Session& session, Drain& drain, const Snapshot& snapshot) {
  const SessionLock lock(session);
  if (session.objects().size() != 0 || session.memory().used_bytes() != 0) {
    throw Failure(Code::conflict, "Only a fresh executor can load an image; use another one.");
  }
  for (const Allocation& allocation : snapshot.allocations) {
    check_driver(session.driver(),
                 session.memory().allocate_at(allocation.address, allocation.bytes),
                 "Taking device memory at the image's addresses");
  }
  std::vector<Step> steps = steps_of(snapshot);
  const std::uint64_t last = steps.empty() ? 0 : steps.back().order;
  auto later = std::make_shared<const std::vector<Later>>(take_later(steps));
  Rebuild(session, drain, snapshot.blobs).run(steps);
  session.objects().continue_at(last + 1);
  mark_events(session, snapshot);
  compare_variables(session, snapshot);
  return later;
}

void rebuild_rest(Session& session, Drain& drain, const LaterSteps& later) {
  if (later == nullptr || later->empty()) return;
  const SessionLock lock(session);
  const std::uint64_t last = session.objects().last_creation();
  std::vector<Step> steps;
  for (const Later& one : *later) {
    steps.push_back({one.order, one.object ? &*one.object : nullptr,
                     one.change ? &*one.change : nullptr,
                     one.placement ? &*one.placement : nullptr});
  }
  const std::map<Digest, Blob> none;
  Rebuild(session, drain, none).run(steps);
  session.objects().continue_at(last + 1);
}

}  // namespace phos::executor
