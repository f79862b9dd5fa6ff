// SPDX-License-Identifier: Apache-2.0
// Texture and surface objects. Device code holds the driver's numbers, so a restore must be given
// the same ones: drivers give out the lowest that is free, and what is given too early is kept
// until the right one has come.
#include <cstddef>
#include <cstring>

#include "executor/handler_tools.h"
#include "executor/textures.h"
#include "gen/executor_handlers.h"

namespace phos::executor {

namespace {

using Request = codec::Req_phos_texture_create;

constexpr std::size_t kMaxPlaceholders = 1U << 16;

// SAFETY: the table keeps what stands for an object as a pointer; here it is a number.
void* as_real(std::uint64_t number) noexcept { return reinterpret_cast<void*>(number); }
std::uint64_t number_of(const void* real) noexcept {
  return reinterpret_cast<std::uint64_t>(real);
}

CUresult make(const DriverTable& driver, HandleType type, const CUDA_RESOURCE_DESC& resource,
              const CUDA_TEXTURE_DESC& description, std::uint64_t* number) {
  CUtexObject made = 0;
  const CUresult result =
      type == HandleType::texture
          ? driver.cuTexObjectCreate(&made, &resource, &description, nullptr)
          : driver.cuSurfObjectCreate(&made, &resource);
  *number = made;
  return result;
}

CUresult make_numbered(const DriverTable& driver, HandleType type,
                       const CUDA_RESOURCE_DESC& resource, const CUDA_TEXTURE_DESC& description,
                       std::uint64_t wanted, std::uint64_t* number) {
  std::vector<std::uint64_t> others;
  CUresult result = make(driver, type, resource, description, number);
  while (result == CUDA_SUCCESS && wanted != 0 && *number != wanted) {
    others.push_back(*number);
    if (others.size() == kMaxPlaceholders) result = CUDA_ERROR_NOT_SUPPORTED;
    else result = make(driver, type, resource, description, number);
  }
  for (const std::uint64_t other : others) destroy_texture(driver, type, as_real(other));
  return result;
}

// Puts the driver's array where the client's stands; memory must be the client's.
CUresult resolve_resource(Session& session, const Command& command, CUDA_RESOURCE_DESC& resource,
                          std::vector<std::uint64_t>& parents) {
  if (resource.resType == CU_RESOURCE_TYPE_ARRAY) {
    void* real = nullptr;
    // SAFETY: the client put a phos handle where the driver's array goes.
    const auto wire = reinterpret_cast<std::uint64_t>(resource.res.array.hArray);
    const CUresult result = session.resolve(HandleType::array, wire, false, &real);
    resource.res.array.hArray = static_cast<CUarray>(real);
    parents.push_back(wire);
    return result;
  }
  const bool linear = resource.resType == CU_RESOURCE_TYPE_LINEAR;
  if (!linear && resource.resType != CU_RESOURCE_TYPE_PITCH2D) return CUDA_ERROR_NOT_SUPPORTED;
  const std::uint64_t at = linear ? resource.res.linear.devPtr : resource.res.pitch2D.devPtr;
  if (place_of(session, at, 1) == Place::nowhere) {
    session.protocol_error(command.call(), "a texture names memory that is not the client's");
    return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

HandleType type_of(std::uint64_t wire) noexcept {
  const bool surface = is_handle(wire) &&
                       handle_type(wire) == static_cast<std::uint8_t>(HandleType::surface);
  return surface ? HandleType::surface : HandleType::texture;
}

}  // namespace

CUresult destroy_texture(const DriverTable& driver, HandleType type, void* real) {
  return type == HandleType::texture ? driver.cuTexObjectDestroy(number_of(real))
                                     : driver.cuSurfObjectDestroy(number_of(real));
}

std::string why_texture_is_lost(Session& session, const Object& object) {
  for (const std::uint64_t parent : object.parents) {
    const bool array = is_handle(parent) &&
                       handle_type(parent) == static_cast<std::uint8_t>(HandleType::array);
    if (array && session.find(HandleType::array, parent) == nullptr) {
      return "the program has destroyed the array behind it";
    }
  }
  Request request{};
  if (object.create.payload.size() < sizeof(request)) return "its command is malformed";
  std::memcpy(&request, object.create.payload.data(), sizeof(request));
  if (request.resource.resType == CU_RESOURCE_TYPE_ARRAY) return {};
  const std::uint64_t at = request.resource.resType == CU_RESOURCE_TYPE_LINEAR
                               ? request.resource.res.linear.devPtr
                               : request.resource.res.pitch2D.devPtr;
  if (session.memory().find(at) != nullptr) return {};
  return "the memory behind it is gone, or no cuMemAlloc gave it";
}

void handle_phos_texture_create(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<Request>(session, command, reply);
  if (request == nullptr) return;
  const HandleType type = type_of(request->object);
  CUDA_RESOURCE_DESC resource = request->resource;
  std::vector<std::uint64_t> parents;
  CUresult result = resolve_resource(session, command, resource, parents);
  codec::Rep_phos_texture_create answer{};
  if (result == CUDA_SUCCESS) {
    result = make_numbered(session.driver(), type, resource, request->description,
                           request->wanted, &answer.number);
  }
  if (result != CUDA_SUCCESS) {
    reply.finish(result);
    return;
  }
  session.create(type, request->object, as_real(answer.number), command, parents);
  if (Object* object = session.find(type, request->object); object != nullptr) {
    object->value = answer.number;
    std::memcpy(object->create.payload.data() + offsetof(Request, wanted), &answer.number,
                sizeof(answer.number));
  }
  reply.finish(CUDA_SUCCESS, &answer, sizeof(answer));
}

void handle_phos_texture_destroy(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_texture_destroy>(session, command, reply);
  if (request == nullptr) return;
  const HandleType type = type_of(request->object);
  void* real = nullptr;
  CUresult result = session.resolve(type, request->object, false, &real);
  if (result == CUDA_SUCCESS) result = destroy_texture(session.driver(), type, real);
  if (result == CUDA_SUCCESS) result = session.destroy(type, request->object);
  reply.finish(result);
}

}  // namespace phos::executor
