// SPDX-License-Identifier: Apache-2.0
// Texture and surface objects. There are no mipmapped arrays and no views in other formats.
#include "drivers/sim/array.h"
#include "drivers/sim/calls.h"
#include "drivers/sim/device_facts.h"
#include "drivers/sim/memory.h"
#include "drivers/sim/runtime.h"
#include "drivers/sim/texture.h"

namespace phos::sim {
namespace {

constexpr std::uint64_t kTextureAlign = 512;
constexpr std::uint64_t kPitchAlign = 32;
constexpr unsigned kKnownTextureFlags =
    CU_TRSF_READ_AS_INTEGER | CU_TRSF_NORMALIZED_COORDINATES | CU_TRSF_SRGB |
    CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION | CU_TRSF_SEAMLESS_CUBEMAP;

TexelKind kind_of(CUarray_format format) noexcept {
  switch (format) {
    case CU_AD_FORMAT_SIGNED_INT8:
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_SIGNED_INT32:
      return TexelKind::integer;
    case CU_AD_FORMAT_HALF:
      return TexelKind::half;
    case CU_AD_FORMAT_FLOAT:
      return TexelKind::single;
    default:
      return TexelKind::natural;
  }
}

CUresult set_format(TextureView& view, CUarray_format format, unsigned channels) noexcept {
  if (channels != 1 && channels != 2 && channels != 4) return CUDA_ERROR_INVALID_VALUE;
  view.channels = channels;
  view.channel_bytes = static_cast<std::uint32_t>(channel_bytes(format));
  view.kind = kind_of(format);
  return view.channel_bytes == 0 ? CUDA_ERROR_NOT_SUPPORTED : CUDA_SUCCESS;
}

CUresult view_array(TextureObject& object, CUarray handle) {
  const Array* array = find_array(handle);
  if (array == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const Block* block = runtime().memory->find(array->base);
  if (block == nullptr) return CUDA_ERROR_INVALID_VALUE;
  object.array = array->handle;
  object.host = block->host;
  object.width = array->description.Width;
  object.height = array->description.Height;
  object.slices = array->slices();
  object.row_bytes = array->row_bytes();
  object.slice_bytes = array->row_bytes() * array->rows();
  object.bytes = object.slice_bytes * object.slices;
  return set_format(object, array->description.Format, array->description.NumChannels);
}

CUresult view_memory(TextureObject& object, const CUDA_RESOURCE_DESC& resource) {
  const bool linear = resource.resType == CU_RESOURCE_TYPE_LINEAR;
  const auto& flat = resource.res.linear;
  const auto& pitched = resource.res.pitch2D;
  const CUresult format = linear ? set_format(object, flat.format, flat.numChannels)
                                 : set_format(object, pitched.format, pitched.numChannels);
  if (format != CUDA_SUCCESS) return format;
  object.address = linear ? flat.devPtr : pitched.devPtr;
  object.width = linear ? flat.sizeInBytes / object.texel_bytes() : pitched.width;
  object.height = linear ? 0 : pitched.height;
  object.row_bytes = linear ? object.width * object.texel_bytes() : pitched.pitchInBytes;
  const std::uint64_t rows = linear ? 1 : pitched.height;
  // The limits also keep the product below from wrapping around.
  const bool fits = linear || (object.width <= std::uint64_t{kMaxLinearWidth} &&
                               rows <= std::uint64_t{kMaxLinearHeight} &&
                               object.row_bytes <= std::uint64_t{kMaxLinearPitch});
  if (!fits || object.width == 0 || rows == 0 || object.address % kTextureAlign != 0 ||
      object.width > object.row_bytes / object.texel_bytes() ||
      (!linear && object.row_bytes % kPitchAlign != 0)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  object.bytes = object.row_bytes * (rows - 1) + object.width * object.texel_bytes();
  object.slice_bytes = object.bytes;
  return runtime().memory->covers(object.address, object.bytes) ? CUDA_SUCCESS
                                                                : CUDA_ERROR_INVALID_VALUE;
}

Edge edge_of(CUaddress_mode mode) noexcept {
  switch (mode) {
    case CU_TR_ADDRESS_MODE_WRAP: return Edge::wrap;
    case CU_TR_ADDRESS_MODE_MIRROR: return Edge::mirror;
    case CU_TR_ADDRESS_MODE_BORDER: return Edge::border;
    default: return Edge::clamp;
  }
}

CUresult describe(TextureObject& object, const CUDA_TEXTURE_DESC& how) {
  if ((how.flags & ~static_cast<unsigned>(kKnownTextureFlags)) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  object.description = how;
  object.normalized_coordinates = (how.flags & CU_TRSF_NORMALIZED_COORDINATES) != 0;
  object.reads_integers = (how.flags & CU_TRSF_READ_AS_INTEGER) != 0;
  object.is_srgb = (how.flags & CU_TRSF_SRGB) != 0;
  object.is_linear_filter = how.filterMode == CU_TR_FILTER_MODE_LINEAR;
  const bool integers = object.kind == TexelKind::natural || object.kind == TexelKind::integer;
  if (object.is_linear_filter && integers && (object.reads_integers || object.channel_bytes == 4)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const Array* array = find_array(as_handle<CUarray>(object.array));
  const bool cube = array != nullptr && (array->description.Flags & CUDA_ARRAY3D_CUBEMAP) != 0;
  for (unsigned i = 0; i < 3; ++i) {
    object.edges[i] = cube ? Edge::clamp : edge_of(how.addressMode[i]);
  }
  for (unsigned i = 0; i < 4; ++i) object.border[i] = how.borderColor[i];
  return CUDA_SUCCESS;
}

CUresult view_resource(TextureObject& object, const CUDA_RESOURCE_DESC& resource) {
  if (resource.flags != 0) return CUDA_ERROR_INVALID_VALUE;
  object.resource = resource;
  switch (resource.resType) {
    case CU_RESOURCE_TYPE_ARRAY: return view_array(object, resource.res.array.hArray);
    case CU_RESOURCE_TYPE_LINEAR:
    case CU_RESOURCE_TYPE_PITCH2D: return view_memory(object, resource);
    default: return CUDA_ERROR_NOT_SUPPORTED;
  }
}

CUresult add(const std::shared_ptr<TextureObject>& object, std::uint64_t* number) {
  *number = texture_table().add(object);
  return *number == 0 ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

CUresult create_texture(CUtexObject* out, const CUDA_RESOURCE_DESC* resource,
                        const CUDA_TEXTURE_DESC* how, const CUDA_RESOURCE_VIEW_DESC* view) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) return ready;
  if (out == nullptr || resource == nullptr || how == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (view != nullptr && view->format != CU_RES_VIEW_FORMAT_NONE) return CUDA_ERROR_NOT_SUPPORTED;
  const auto object = std::make_shared<TextureObject>();
  object->context = entry.context().handle;
  CUresult result = view_resource(*object, *resource);
  if (result == CUDA_SUCCESS) result = describe(*object, *how);
  std::uint64_t number = 0;
  if (result == CUDA_SUCCESS) result = add(object, &number);
  if (result == CUDA_SUCCESS) *out = number;
  return result;
}

CUresult create_surface(CUsurfObject* out, const CUDA_RESOURCE_DESC* resource) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) return ready;
  if (out == nullptr || resource == nullptr || resource->resType != CU_RESOURCE_TYPE_ARRAY) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const auto object = std::make_shared<TextureObject>();
  object->is_surface = true;
  object->context = entry.context().handle;
  CUresult result = view_resource(*object, *resource);
  const Array* array = find_array(resource->res.array.hArray);
  if (result == CUDA_SUCCESS && (array->description.Flags & CUDA_ARRAY3D_SURFACE_LDST) == 0) {
    result = CUDA_ERROR_INVALID_VALUE;
  }
  std::uint64_t number = 0;
  if (result == CUDA_SUCCESS) result = add(object, &number);
  if (result == CUDA_SUCCESS) *out = number;
  return result;
}

// SAFETY (this and below): the table holds nothing but TextureObjects.
std::shared_ptr<const TextureObject> find_object(std::uint64_t number, bool surface) {
  auto found = std::static_pointer_cast<const TextureObject>(texture_table().find(number));
  return found != nullptr && found->is_surface == surface ? found : nullptr;
}

CUresult destroy(std::uint64_t number, bool surface) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) return ready;
  if (find_object(number, surface) == nullptr) return CUDA_ERROR_INVALID_VALUE;
  settle(entry);
  return texture_table().remove(number) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
CUresult destroy_texture(CUtexObject number) { return destroy(number, false); }
CUresult destroy_surface(CUsurfObject number) { return destroy(number, true); }

template <class Part>
CUresult read_part(std::uint64_t number, bool surface, Part* out, Part TextureObject::*part) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) return ready;
  const auto object = find_object(number, surface);
  if (out == nullptr || object == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = (*object).*part;
  return CUDA_SUCCESS;
}

CUresult texture_resource(CUDA_RESOURCE_DESC* out, CUtexObject number) {
  return read_part(number, false, out, &TextureObject::resource);
}
CUresult texture_description(CUDA_TEXTURE_DESC* out, CUtexObject number) {
  return read_part(number, false, out, &TextureObject::description);
}
CUresult surface_resource(CUDA_RESOURCE_DESC* out, CUsurfObject number) {
  return read_part(number, true, out, &TextureObject::resource);
}
CUresult texture_view(CUDA_RESOURCE_VIEW_DESC* out, CUtexObject number) {
  CUDA_TEXTURE_DESC ignored{};
  const CUresult result = texture_description(&ignored, number);
  if (result == CUDA_SUCCESS && out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (result == CUDA_SUCCESS) *out = {};
  return result;
}

}  // namespace

void detach_textures_of(std::uint64_t array) {
  using View = std::shared_ptr<const TextureView>;
  texture_table().replace_if([array](const TextureView& view) -> View {
    const auto& object = static_cast<const TextureObject&>(view);
    if (object.array != array) return nullptr;
    auto detached = std::make_shared<TextureObject>(object);
    detached->host = nullptr;
    detached->array = 0;
    return detached;
  });
}

void fill_texture_calls(DriverTable& table) {
  table.cuTexObjectCreate = create_texture;
  table.cuTexObjectDestroy = destroy_texture;
  table.cuTexObjectGetResourceDesc = texture_resource;
  table.cuTexObjectGetTextureDesc = texture_description;
  table.cuTexObjectGetResourceViewDesc = texture_view;
  table.cuSurfObjectCreate = create_surface;
  table.cuSurfObjectDestroy = destroy_surface;
  table.cuSurfObjectGetResourceDesc = surface_resource;
}

}  // namespace phos::sim
