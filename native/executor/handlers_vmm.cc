// SPDX-License-Identifier: Apache-2.0
// Virtual memory management. Physical memory is an allocation of the window like any other, so
// that a checkpoint finds its bytes where it always is; what the program maps is another view of
// it.
#include <cstddef>
#include <cstring>

#include "executor/handler_tools.h"
#include "gen/executor_handlers.h"

namespace phos::executor {

namespace {

// SAFETY: the table keeps what stands for an object as a pointer; here it is an address.
void* as_real(std::uint64_t address) noexcept { return reinterpret_cast<void*>(address); }
std::uint64_t address_of(const void* real) noexcept {
  return reinterpret_cast<std::uint64_t>(real);
}

// A restore must find the same address: it becomes part of the command that is kept.
void remember(Session& session, HandleType type, std::uint64_t wire, std::size_t offset,
              std::uint64_t address) {
  Object* object = session.find(type, wire);
  if (object == nullptr) return;
  object->value = address;
  std::memcpy(object->create.payload.data() + offset, &address, sizeof(address));
}

}  // namespace

void handle_phos_vmm_reserve(Session& session, const Command& command, Reply& reply) {
  using Request = codec::Req_phos_vmm_reserve;
  const auto* request = request_of<Request>(session, command, reply);
  if (request == nullptr) return;
  codec::Rep_phos_vmm_reserve answer{};
  const CUresult result =
      session.memory().reserve_range({request->bytes, request->alignment, request->wish,
                                      request->exact}, &answer.address);
  if (result != CUDA_SUCCESS) {
    reply.finish(result);
    return;
  }
  session.create(HandleType::reservation, request->reservation, as_real(answer.address), command,
                 {});
  remember(session, HandleType::reservation, request->reservation, offsetof(Request, exact),
           answer.address);
  reply.finish(CUDA_SUCCESS, &answer, sizeof(answer));
}

void handle_phos_vmm_unreserve(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_vmm_unreserve>(session, command, reply);
  if (request == nullptr) return;
  void* real = nullptr;
  CUresult result = session.resolve(HandleType::reservation, request->reservation, false, &real);
  if (result == CUDA_SUCCESS) result = session.memory().free_range(address_of(real));
  if (result == CUDA_SUCCESS) {
    result = session.destroy(HandleType::reservation, request->reservation);
  }
  reply.finish(result);
}

void handle_phos_vmm_create(Session& session, const Command& command, Reply& reply) {
  using Request = codec::Req_phos_vmm_create;
  const auto* request = request_of<Request>(session, command, reply);
  if (request == nullptr) return;
  if (request->bytes == 0 || request->bytes % kChunkBytes != 0) {
    session.protocol_error(command.call(), "physical memory of no whole granules");
    reply.finish(CUDA_ERROR_INVALID_VALUE);
    return;
  }
  codec::Rep_phos_vmm_create answer{};
  answer.home = request->home;
  CUresult result = CUDA_SUCCESS;
  if (request->home == 0) {
    result = session.memory().allocate(request->bytes, session.streams(), &answer.home);
  } else if (session.memory().find(request->home) == nullptr) {
    // At a restore all memory is there before any object.
    result = CUDA_ERROR_INVALID_VALUE;
  }
  if (result != CUDA_SUCCESS) {
    reply.finish(result);
    return;
  }
  session.create(HandleType::allocation, request->allocation, as_real(answer.home), command, {});
  remember(session, HandleType::allocation, request->allocation, offsetof(Request, home),
           answer.home);
  reply.finish(CUDA_SUCCESS, &answer, sizeof(answer));
}

void handle_phos_vmm_release(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_vmm_release>(session, command, reply);
  if (request == nullptr) return;
  void* real = nullptr;
  CUresult result = session.resolve(HandleType::allocation, request->allocation, false, &real);
  if (result == CUDA_SUCCESS) {
    result = session.memory().retire(address_of(real), session.streams());
  }
  if (result == CUDA_SUCCESS) {
    result = session.destroy(HandleType::allocation, request->allocation);
  }
  reply.finish(result);
}

void handle_phos_vmm_map(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_vmm_map>(session, command, reply);
  if (request == nullptr) return;
  void* home = nullptr;
  CUresult result = session.resolve(HandleType::allocation, request->allocation, false, &home);
  if (result == CUDA_SUCCESS) {
    result = session.memory().map_alias(request->address,
                                        {request->bytes, address_of(home), request->offset, 0});
  }
  if (result == CUDA_SUCCESS) {
    const std::uint64_t parents[] = {request->allocation};
    session.create(HandleType::mapping, request->mapping, as_real(request->address), command,
                   parents);
  }
  reply.finish(result);
}

void handle_phos_vmm_unmap(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_vmm_unmap>(session, command, reply);
  if (request == nullptr) return;
  void* real = nullptr;
  CUresult result = session.resolve(HandleType::mapping, request->mapping, false, &real);
  if (result == CUDA_SUCCESS) result = session.memory().unmap_alias(address_of(real));
  if (result == CUDA_SUCCESS) result = session.destroy(HandleType::mapping, request->mapping);
  reply.finish(result);
}

void handle_phos_vmm_access(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_vmm_access>(session, command, reply);
  if (request == nullptr) return;
  void* real = nullptr;
  CUresult result = session.resolve(HandleType::mapping, request->mapping, false, &real);
  if (result == CUDA_SUCCESS) {
    result = session.memory().set_alias_access(address_of(real), request->flags);
  }
  if (result == CUDA_SUCCESS) session.mutate(HandleType::mapping, request->mapping, command);
  reply.finish(result);
}

}  // namespace phos::executor
