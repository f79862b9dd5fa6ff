// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/array.h"
#include "drivers/sim/calls.h"
#include "drivers/sim/memory.h"
#include "drivers/sim/pool.h"
#include "drivers/sim/runtime.h"
#include "drivers/sim/texture.h"

namespace phos::sim {
namespace {

constexpr std::uint64_t kMaxExtent = 131072;

CUresult create_3d(CUarray* out, const CUDA_ARRAY3D_DESCRIPTOR* description) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (out == nullptr || description == nullptr || description->Width == 0 ||
      description->Width > kMaxExtent || description->Height > kMaxExtent ||
      description->Depth > kMaxExtent ||
      (description->Height == 0 && description->Depth != 0 &&
       (description->Flags & CUDA_ARRAY3D_LAYERED) == 0)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const unsigned channels = description->NumChannels;
  if (channels != 1 && channels != 2 && channels != 4) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const auto array = std::make_shared<Array>();
  array->description = *description;
  array->element_bytes = channel_bytes(description->Format) * channels;
  if (array->element_bytes == 0) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  Context& context = entry.context();
  Block* block = nullptr;
  const CUresult result =
      runtime().memory->allocate(*context.device, context.handle,
                                 array->row_bytes() * array->rows() * array->slices(),
                                 BlockKind::array, &block);
  if (result == CUDA_SUCCESS) {
    array->context = context.handle;
    array->base = block->base;
    array->handle = runtime().arrays.add(array);
    *out = as_handle<CUarray>(array->handle);
  }
  return result;
}

CUresult create(CUarray* out, const CUDA_ARRAY_DESCRIPTOR* flat) {
  if (flat == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const CUDA_ARRAY3D_DESCRIPTOR description{flat->Width,  flat->Height,      0,
                                            flat->Format, flat->NumChannels, 0};
  return create_3d(out, &description);
}

CUresult destroy(CUarray handle) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (find_array(handle) == nullptr) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  settle(entry);
  const std::shared_ptr<Array> array = runtime().arrays.remove(handle_bits(handle));
  detach_textures_of(handle_bits(handle));
  return array ? free_allocation(array->base) : CUDA_ERROR_INVALID_HANDLE;
}

CUresult get_descriptor_3d(CUDA_ARRAY3D_DESCRIPTOR* out, CUarray handle) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  const Array* array = find_array(handle);
  if (array == nullptr) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  if (out == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *out = array->description;
  return CUDA_SUCCESS;
}

CUresult get_descriptor(CUDA_ARRAY_DESCRIPTOR* out, CUarray handle) {
  CUDA_ARRAY3D_DESCRIPTOR whole{};
  const CUresult result = get_descriptor_3d(out == nullptr ? nullptr : &whole, handle);
  if (result == CUDA_SUCCESS) {
    *out = {whole.Width, whole.Height, whole.Format, whole.NumChannels};
  }
  return result;
}

}  // namespace

std::uint64_t channel_bytes(CUarray_format format) noexcept {
  switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
    case CU_AD_FORMAT_SIGNED_INT8:
      return 1;
    case CU_AD_FORMAT_UNSIGNED_INT16:
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_HALF:
      return 2;
    case CU_AD_FORMAT_UNSIGNED_INT32:
    case CU_AD_FORMAT_SIGNED_INT32:
    case CU_AD_FORMAT_FLOAT:
      return 4;
    default:
      return 0;
  }
}

Array* find_array(CUarray handle) { return runtime().arrays.find(handle_bits(handle)); }

void fill_array_calls(DriverTable& table) {
  table.cuArrayCreate = create;
  table.cuArray3DCreate = create_3d;
  table.cuArrayDestroy = destroy;
  table.cuArrayGetDescriptor = get_descriptor;
  table.cuArray3DGetDescriptor = get_descriptor_3d;
}

}  // namespace phos::sim
