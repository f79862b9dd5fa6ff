// SPDX-License-Identifier: Apache-2.0
// Device memory: what cuMemAlloc and its kin give lies in the client's window.
#include <algorithm>

#include "executor/handler_tools.h"
#include "executor/save_job.h"
#include "executor/spare_memory.h"
#include "executor/waits.h"
#include "gen/executor_handlers.h"

namespace phos::executor {

namespace {

template <class Rep>
void answer_address(Reply& reply, CUresult result, std::uint64_t address) {
  if (result != CUDA_SUCCESS) {
    reply.finish(result);
    return;
  }
  Rep answer{};
  answer.dptr = address;
  reply.finish(CUDA_SUCCESS, &answer, sizeof(answer));
}

// The device has no more memory. Part of it may be borrowed by a save, and then the program, which
// would have had it otherwise, gets it when the save gives it back.
template <class Rep>
void allocate_after_save(Session& session, std::uint64_t bytes, Reply& reply) {
  const SessionLock lock(session);
  SaveJob* job = session.save_job();
  // A save that has not begun does without.
  if (session.drop_spare()) {
    std::uint64_t address = 0;
    const CUresult again = session.memory().allocate(bytes, session.streams(), &address);
    answer_address<Rep>(reply, again, address);
    return;
  }
  if (job == nullptr || job->borrowed_bytes() < bytes) {
    reply.finish(CUDA_ERROR_OUT_OF_MEMORY);
    return;
  }
  Reply later = reply;
  reply.postpone();
  job->when_released([&session, bytes, later]() mutable {
    std::uint64_t address = 0;
    const CUresult result = session.memory().allocate(bytes, session.streams(), &address);
    answer_address<Rep>(later, result, address);
  });
}

template <class Rep>
void allocate(Session& session, std::uint64_t bytes, Reply& reply) {
  std::uint64_t address = 0;
  const CUresult result = session.memory().allocate(bytes, session.streams(), &address);
  if (result != CUDA_ERROR_OUT_OF_MEMORY) {
    answer_address<Rep>(reply, result, address);
    return;
  }
  if (!session.memory().has_retired()) {
    allocate_after_save<Rep>(session, bytes, reply);
    return;
  }
  // Freed memory is still in use on the device: CUDA would have waited for it in cuMemFree.
  session.waits().after_all(reply, [&session, bytes](CUresult status, Reply& done) {
    if (status != CUDA_SUCCESS) {
      done.finish(status);
      return;
    }
    std::uint64_t place = 0;
    CUresult again = CUDA_SUCCESS;
    {
      const SessionLock lock(session);
      again = session.memory().allocate(bytes, session.streams(), &place);
    }
    if (again == CUDA_ERROR_OUT_OF_MEMORY) {
      allocate_after_save<Rep>(session, bytes, done);
    } else {
      answer_address<Rep>(done, again, place);
    }
  });
}

template <class Request>
void free_memory(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<Request>(session, command, reply);
  if (request == nullptr) return;
  reply.finish(session.memory().retire(request->dptr, session.streams()));
}

}  // namespace

void handle_cuMemAlloc(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_cuMemAlloc>(session, command, reply);
  if (request != nullptr) allocate<codec::Rep_cuMemAlloc>(session, request->bytesize, reply);
}

// Memory of a pool is memory of the window: it may be used as soon as it is there, in any order.
void handle_cuMemAllocAsync(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_cuMemAllocAsync>(session, command, reply);
  if (request != nullptr) allocate<codec::Rep_cuMemAllocAsync>(session, request->bytesize, reply);
}

void handle_cuMemAllocFromPoolAsync(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_cuMemAllocFromPoolAsync>(session, command, reply);
  if (request == nullptr) return;
  allocate<codec::Rep_cuMemAllocFromPoolAsync>(session, request->bytesize, reply);
}

void handle_cuMemFree(Session& session, const Command& command, Reply& reply) {
  free_memory<codec::Req_cuMemFree>(session, command, reply);
}

void handle_cuMemFreeAsync(Session& session, const Command& command, Reply& reply) {
  free_memory<codec::Req_cuMemFreeAsync>(session, command, reply);
}

void handle_cuMemGetInfo(Session& session, const Command& /*command*/, Reply& reply) {
  session.memory().reclaim(session.streams());
  std::size_t free = 0;
  std::size_t total = 0;
  const CUresult result = session.driver().cuMemGetInfo(&free, &total);
  if (result != CUDA_SUCCESS) {
    reply.finish(result);
    return;
  }
  if (const SaveJob* job = session.save_job()) free += job->borrowed_bytes();
  if (session.spare() != nullptr) free += session.spare()->bytes();
  codec::Rep_cuMemGetInfo answer{free, total};
  const std::uint64_t limit = session.memory().limit();
  if (limit != 0) {
    answer.total = std::min<std::uint64_t>(total, limit);
    const std::uint64_t mapped = std::min(limit, session.memory().mapped_bytes());
    answer.free = std::min<std::uint64_t>(free, limit - mapped);
  }
  reply.finish(CUDA_SUCCESS, &answer, sizeof(answer));
}

}  // namespace phos::executor
