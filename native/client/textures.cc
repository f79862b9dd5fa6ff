// SPDX-License-Identifier: Apache-2.0
// Texture and surface objects. What the program holds is the driver's own number, because device
// code consumes it; the handle that stands for the object in commands is found by it.
#include "client/call.h"
#include "gen/client_impl.h"

namespace phos::client {

namespace {

struct TextureInfo {
  std::atomic<std::uint64_t> number{0};
  CUDA_RESOURCE_DESC resource{};
  CUDA_TEXTURE_DESC description{};
};

std::uint64_t handle_of_number(HandleType type, std::uint64_t number) noexcept {
  std::uint64_t found = 0;
  handles_of(type).for_each([&](std::uint64_t handle) {
    const auto* info = object_of<TextureInfo>(type, handle);
    if (info != nullptr && info->number.load() == number) found = handle;
  });
  return found;
}

CUresult check_resource(const CUDA_RESOURCE_DESC& resource) noexcept {
  std::uint64_t wire = 0;
  switch (resource.resType) {
    case CU_RESOURCE_TYPE_ARRAY:
      return handle_arg(HandleType::array, bits_of(resource.res.array.hArray), false, &wire);
    case CU_RESOURCE_TYPE_LINEAR:
    case CU_RESOURCE_TYPE_PITCH2D:
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_NOT_SUPPORTED;
  }
}

CUresult create(HandleType type, const CUDA_RESOURCE_DESC& resource,
                const CUDA_TEXTURE_DESC& description, std::uint64_t* number) noexcept {
  CUresult status = check_resource(resource);
  if (status != CUDA_SUCCESS) return status;
  codec::Req_phos_texture_create request{};
  codec::Rep_phos_texture_create reply{};
  request.resource = resource;
  request.description = description;
  status = new_handle(type, &request.object);
  if (status != CUDA_SUCCESS) return status;
  auto* info = object_of<TextureInfo>(type, request.object);
  status = info == nullptr ? CUDA_ERROR_OUT_OF_MEMORY : ask(request, &reply);
  if (status != CUDA_SUCCESS) {
    drop_handle(type, request.object);
    return status;
  }
  info->resource = resource;
  info->description = description;
  info->number.store(reply.number);
  *number = reply.number;
  return CUDA_SUCCESS;
}

CUresult destroy(HandleType type, std::uint64_t number) noexcept {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  codec::Req_phos_texture_destroy request{};
  codec::Rep_phos_texture_destroy reply{};
  const std::uint64_t handle = handle_of_number(type, number);
  if (number == 0 || handle == 0) return CUDA_ERROR_INVALID_VALUE;
  object_of<TextureInfo>(type, handle)->number.store(0);
  const CUresult status = retire_handle(type, handle, &request.object);
  return status != CUDA_SUCCESS ? status : ask(request, &reply);
}

template <class Part>
CUresult read_part(HandleType type, std::uint64_t number, Part* out,
                   Part TextureInfo::*part) noexcept {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  const std::uint64_t handle = handle_of_number(type, number);
  const auto* info = object_of<TextureInfo>(type, handle);
  if (out == nullptr || number == 0 || info == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = info->*part;
  return CUDA_SUCCESS;
}

}  // namespace

namespace impl {

CUresult cuTexObjectCreate(CUtexObject* pTexObject, const CUDA_RESOURCE_DESC* pResDesc,
                           const CUDA_TEXTURE_DESC* pTexDesc,
                           const CUDA_RESOURCE_VIEW_DESC* pResViewDesc) {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  if (pTexObject == nullptr || pResDesc == nullptr || pTexDesc == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (pResViewDesc != nullptr && pResViewDesc->format != CU_RES_VIEW_FORMAT_NONE) {
    return report_unsupported(CallId::cuTexObjectCreate);
  }
  std::uint64_t number = 0;
  const CUresult status = create(HandleType::texture, *pResDesc, *pTexDesc, &number);
  if (status == CUDA_SUCCESS) *pTexObject = number;
  return status;
}

CUresult cuTexObjectDestroy(CUtexObject texObject) {
  return destroy(HandleType::texture, texObject);
}

CUresult cuTexObjectGetResourceDesc(CUDA_RESOURCE_DESC* pResDesc, CUtexObject texObject) {
  return read_part(HandleType::texture, texObject, pResDesc, &TextureInfo::resource);
}

CUresult cuTexObjectGetTextureDesc(CUDA_TEXTURE_DESC* pTexDesc, CUtexObject texObject) {
  return read_part(HandleType::texture, texObject, pTexDesc, &TextureInfo::description);
}

// Views in other formats cannot be made.
CUresult cuTexObjectGetResourceViewDesc(CUDA_RESOURCE_VIEW_DESC* pResViewDesc,
                                        CUtexObject texObject) {
  CUDA_TEXTURE_DESC ignored{};
  const CUresult status = impl::cuTexObjectGetTextureDesc(&ignored, texObject);
  if (status != CUDA_SUCCESS) return status;
  if (pResViewDesc == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *pResViewDesc = {};
  return CUDA_SUCCESS;
}

CUresult cuSurfObjectCreate(CUsurfObject* pSurfObject, const CUDA_RESOURCE_DESC* pResDesc) {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  if (pSurfObject == nullptr || pResDesc == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::uint64_t number = 0;
  const CUresult status = create(HandleType::surface, *pResDesc, {}, &number);
  if (status == CUDA_SUCCESS) *pSurfObject = number;
  return status;
}

CUresult cuSurfObjectDestroy(CUsurfObject surfObject) {
  return destroy(HandleType::surface, surfObject);
}

CUresult cuSurfObjectGetResourceDesc(CUDA_RESOURCE_DESC* pResDesc, CUsurfObject surfObject) {
  return read_part(HandleType::surface, surfObject, pResDesc, &TextureInfo::resource);
}

}  // namespace impl
}  // namespace phos::client
