// SPDX-License-Identifier: Apache-2.0
// Textures and surfaces: kinds of memory, shapes, addressing and filtering.
#include "judge.h"

#include <cmath>

namespace {

__global__ void fetch_1d(cudaTextureObject_t t, float* out) {
  const int i = static_cast<int>(threadIdx.x);
  out[i] = tex1Dfetch<float>(t, i - 4);
}
__global__ void read_1d(cudaTextureObject_t t, const float* x, float* out) {
  out[threadIdx.x] = tex1D<float>(t, x[threadIdx.x]);
}
__global__ void read_2d(cudaTextureObject_t t, const float2* at, float* out) {
  out[threadIdx.x] = tex2D<float>(t, at[threadIdx.x].x, at[threadIdx.x].y);
}
__global__ void read_bytes(cudaTextureObject_t t, uchar4* out) {
  out[threadIdx.x] = tex2D<uchar4>(t, static_cast<float>(threadIdx.x), 1.0f);
}
__global__ void read_3d(cudaTextureObject_t t, float3 at, float* out) {
  *out = tex3D<float>(t, at.x, at.y, at.z);
}
__global__ void read_layers(cudaTextureObject_t t, float* out) {
  out[threadIdx.x] = tex2DLayered<float>(t, 1.5f, 0.5f, static_cast<int>(threadIdx.x) - 1);
}
__global__ void read_cube(cudaTextureObject_t t, const float3* at, float* out) {
  const float3 v = at[threadIdx.x];
  out[threadIdx.x] = texCubemap<float>(t, v.x, v.y, v.z);
}
__global__ void gather_2d(cudaTextureObject_t t, float4* out) {
  *out = tex2Dgather<float4>(t, 2.0f, 2.0f, 0);
}
__global__ void double_surface(cudaSurfaceObject_t s, int width) {
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(blockIdx.x);
  if (x >= width) return;
  surf2Dwrite(2 * surf2Dread<float>(s, x * 4, y), s, x * 4, y);
}
__global__ void surface_edges(cudaSurfaceObject_t s, float* out) {
  out[0] = surf2Dread<float>(s, -4, 0, cudaBoundaryModeZero);
  out[1] = surf2Dread<float>(s, 400, 1, cudaBoundaryModeClamp);
  surf2Dwrite(-1.0f, s, 4 * 900, 0, cudaBoundaryModeZero);
}
__global__ void surface_vectors(cudaSurfaceObject_t s) {
  const int x = static_cast<int>(threadIdx.x);
  uchar4 v = surf2Dread<uchar4>(s, x * 4, 0);
  v.x = static_cast<unsigned char>(v.x + 1);
  surf2Dwrite(v, s, x * 4, 0);
}
__global__ void surface_3d(cudaSurfaceObject_t s) {
  const int i = static_cast<int>(threadIdx.x);
  surf3Dwrite(static_cast<float>(i), s, (i % 4) * 4, (i / 4) % 2, i / 8);
}

cudaTextureDesc how(cudaTextureAddressMode edge, cudaTextureFilterMode filter, bool normalized) {
  cudaTextureDesc desc{};
  for (auto& mode : desc.addressMode) mode = edge;
  desc.filterMode = filter;
  desc.readMode = cudaReadModeElementType;
  desc.normalizedCoords = normalized ? 1 : 0;
  return desc;
}

struct Array {
  cudaArray_t at = nullptr;
  template <class T>
  Array(const std::vector<T>& from, size_t width, size_t height, size_t depth = 0,
        unsigned flags = 0) {
    const cudaChannelFormatDesc format = cudaCreateChannelDesc<T>();
    const cudaExtent extent = make_cudaExtent(width, height, depth);
    OK(cudaMalloc3DArray(&at, &format, extent, flags));
    cudaMemcpy3DParms copy{};
    copy.srcPtr = make_cudaPitchedPtr(const_cast<T*>(from.data()), width * sizeof(T), width,
                                      height == 0 ? 1 : height);
    copy.dstArray = at;
    copy.extent = make_cudaExtent(width, height == 0 ? 1 : height, depth == 0 ? 1 : depth);
    copy.kind = cudaMemcpyHostToDevice;
    OK(cudaMemcpy3D(&copy));
  }
  ~Array() { cudaFreeArray(at); }
  cudaResourceDesc resource() const {
    cudaResourceDesc desc{};
    desc.resType = cudaResourceTypeArray;
    desc.res.array.array = at;
    return desc;
  }
};

struct Texture {
  cudaTextureObject_t object = 0;
  Texture(const cudaResourceDesc& resource, const cudaTextureDesc& desc) {
    OK(cudaCreateTextureObject(&object, &resource, &desc, nullptr));
  }
  ~Texture() { cudaDestroyTextureObject(object); }
};

std::vector<float> ramp(size_t count) {
  std::vector<float> out(count);
  for (size_t i = 0; i < count; ++i) out[i] = static_cast<float>(i);
  return out;
}

bool near(float a, float b) { return std::fabs(a - b) < 1e-3f; }

}  // namespace

TEST(texture_of_linear_memory) {
  Device<float> data(ramp(16)), out(32);
  cudaResourceDesc resource{};
  resource.resType = cudaResourceTypeLinear;
  resource.res.linear.devPtr = data.at;
  resource.res.linear.desc = cudaCreateChannelDesc<float>();
  resource.res.linear.sizeInBytes = 64;
  const Texture texture(resource, how(cudaAddressModeClamp, cudaFilterModePoint, false));
  fetch_1d<<<1, 32>>>(texture.object, out.at);
  const auto got = out.read();
  CHECK(got[3] == 0 && got[4] == 0 && got[5] == 1 && got[19] == 15 && got[20] == 0);
}

TEST(texture_filters_in_one_dimension) {
  const Array array(ramp(8), 8, 0);
  const Device<float> x(std::vector<float>{0.5f, 1.0f, 1.75f, 7.9f, -3.0f, 20.0f});
  Device<float> out(6);
  const Texture point(array.resource(), how(cudaAddressModeClamp, cudaFilterModePoint, false));
  const Texture linear(array.resource(), how(cudaAddressModeClamp, cudaFilterModeLinear, false));
  read_1d<<<1, 6>>>(point.object, x.at, out.at);
  auto got = out.read();
  CHECK(got[0] == 0 && got[1] == 1 && got[2] == 1 && got[3] == 7 && got[4] == 0 && got[5] == 7);
  read_1d<<<1, 6>>>(linear.object, x.at, out.at);
  got = out.read();
  CHECK(near(got[0], 0) && near(got[1], 0.5f) && near(got[2], 1.25f) && near(got[3], 7));
  CHECK(near(got[4], 0) && near(got[5], 7));
}

TEST(texture_address_modes) {
  const Array array(ramp(4), 4, 0);
  const Device<float> x(std::vector<float>{-0.125f, 1.125f, 1.375f, 2.125f, 0.375f, -0.375f});
  Device<float> out(6);
  const struct {
    cudaTextureAddressMode mode;
    float wanted[6];
  } cases[] = {{cudaAddressModeWrap, {3, 0, 1, 0, 1, 2}},
               {cudaAddressModeMirror, {0, 3, 2, 0, 1, 1}},
               {cudaAddressModeClamp, {0, 3, 3, 3, 1, 0}},
               {cudaAddressModeBorder, {0, 0, 0, 0, 1, 0}}};
  for (const auto& one : cases) {
    const Texture texture(array.resource(), how(one.mode, cudaFilterModePoint, true));
    read_1d<<<1, 6>>>(texture.object, x.at, out.at);
    const auto got = out.read();
    for (int i = 0; i < 6; ++i) CHECK_AT(10 * one.mode + i, got[i] == one.wanted[i]);
  }
}

TEST(texture_two_dimensions_linear) {
  const Array array(ramp(16), 4, 4);
  const Device<float2> at(std::vector<float2>{{0.5f, 0.5f}, {1.0f, 1.0f}, {2.5f, 1.0f}, {9, 9}});
  Device<float> out(4);
  const Texture texture(array.resource(), how(cudaAddressModeClamp, cudaFilterModeLinear, false));
  read_2d<<<1, 4>>>(texture.object, at.at, out.at);
  const auto got = out.read();
  CHECK(near(got[0], 0) && near(got[1], 2.5f) && near(got[2], 4) && near(got[3], 15));
}

TEST(texture_border_blends) {
  const Array array(std::vector<float>{8, 8, 8, 8}, 2, 2);
  cudaTextureDesc desc = how(cudaAddressModeBorder, cudaFilterModeLinear, false);
  desc.borderColor[0] = 4;
  const Texture texture(array.resource(), desc);
  const Device<float2> at(std::vector<float2>{{0, 1}, {-5, 0}, {1, 1}});
  Device<float> out(3);
  read_2d<<<1, 3>>>(texture.object, at.at, out.at);
  const auto got = out.read();
  CHECK(near(got[0], 6) && near(got[1], 4) && near(got[2], 8));
}

TEST(texture_of_pitched_memory) {
  float* data = nullptr;
  size_t pitch = 0;
  const auto from = ramp(5 * 3);
  OK(cudaMallocPitch(&data, &pitch, 20, 3));
  OK(cudaMemcpy2D(data, pitch, from.data(), 20, 20, 3, cudaMemcpyHostToDevice));
  cudaResourceDesc resource{};
  resource.resType = cudaResourceTypePitch2D;
  resource.res.pitch2D.devPtr = data;
  resource.res.pitch2D.desc = cudaCreateChannelDesc<float>();
  resource.res.pitch2D.width = 5;
  resource.res.pitch2D.height = 3;
  resource.res.pitch2D.pitchInBytes = pitch;
  {
    const Texture texture(resource, how(cudaAddressModeClamp, cudaFilterModePoint, false));
    const Device<float2> at(std::vector<float2>{{0, 0}, {4.5f, 1.5f}, {2, 2}});
    Device<float> out(3);
    read_2d<<<1, 3>>>(texture.object, at.at, out.at);
    const auto got = out.read();
    CHECK(got[0] == 0 && got[1] == 9 && got[2] == 12);
  }
  OK(cudaFree(data));
}

TEST(texture_bytes_as_they_are_and_as_fractions) {
  std::vector<uchar4> from(8);
  for (unsigned i = 0; i < 8; ++i) from[i] = make_uchar4(static_cast<unsigned char>(i), 51, 255, 7);
  const Array array(from, 4, 2);
  Device<uchar4> out(4);
  const Texture texture(array.resource(), how(cudaAddressModeClamp, cudaFilterModePoint, false));
  read_bytes<<<1, 4>>>(texture.object, out.at);
  CHECK(out.read()[2].x == 6 && out.read()[2].z == 255 && out.read()[3].w == 7);
  const Array gray(std::vector<unsigned char>{0, 51, 102, 255}, 2, 2);
  cudaTextureDesc desc = how(cudaAddressModeClamp, cudaFilterModeLinear, false);
  desc.readMode = cudaReadModeNormalizedFloat;
  const Texture fractions(gray.resource(), desc);
  const Device<float2> at(std::vector<float2>{{0.5f, 0.5f}, {1.5f, 0.5f}, {1.0f, 0.5f}});
  Device<float> values(3);
  read_2d<<<1, 3>>>(fractions.object, at.at, values.at);
  const auto got = values.read();
  CHECK(near(got[0], 0) && near(got[1], 0.2f) && near(got[2], 0.1f));
}

TEST(texture_three_dimensions) {
  const Array array(ramp(4 * 4 * 4), 4, 4, 4);
  Device<float> out(1);
  const Texture point(array.resource(), how(cudaAddressModeClamp, cudaFilterModePoint, false));
  read_3d<<<1, 1>>>(point.object, make_float3(1, 2, 3), out.at);
  CHECK(out.read()[0] == 3 * 16 + 2 * 4 + 1);
  const Texture linear(array.resource(), how(cudaAddressModeClamp, cudaFilterModeLinear, false));
  read_3d<<<1, 1>>>(linear.object, make_float3(1, 1, 1), out.at);
  CHECK(near(out.read()[0], 10.5f));
}

TEST(texture_layers) {
  const Array array(ramp(4 * 2 * 3), 4, 2, 3, cudaArrayLayered);
  Device<float> out(5);
  const Texture texture(array.resource(), how(cudaAddressModeClamp, cudaFilterModePoint, false));
  read_layers<<<1, 5>>>(texture.object, out.at);
  const auto got = out.read();
  CHECK(got[0] == 1 && got[1] == 1 && got[2] == 9 && got[3] == 17 && got[4] == 17);
}

TEST(texture_cube) {
  std::vector<float> faces(4 * 6);
  for (size_t i = 0; i < faces.size(); ++i) faces[i] = static_cast<float>(i / 4);
  const Array array(faces, 2, 2, 6, cudaArrayCubemap);
  const Device<float3> at(std::vector<float3>{
      {1, 0, 0}, {-1, 0, 0}, {0, 1, 0}, {0, -1, 0}, {0, 0, 1}, {0, 0, -1}});
  Device<float> out(6);
  const Texture texture(array.resource(), how(cudaAddressModeWrap, cudaFilterModePoint, true));
  read_cube<<<1, 6>>>(texture.object, at.at, out.at);
  const auto got = out.read();
  for (int i = 0; i < 6; ++i) CHECK_AT(i, got[i] == static_cast<float>(i));
}

TEST(texture_gather) {
  const Array array(ramp(16), 4, 4, 0, cudaArrayTextureGather);
  Device<float4> out(1);
  const Texture texture(array.resource(), how(cudaAddressModeClamp, cudaFilterModePoint, false));
  gather_2d<<<1, 1>>>(texture.object, out.at);
  const float4 got = out.read()[0];
  CHECK(got.x == 9 && got.y == 10 && got.z == 6 && got.w == 5);
}

TEST(texture_descriptions_come_back) {
  const Array array(ramp(16), 4, 4);
  const Texture texture(array.resource(), how(cudaAddressModeMirror, cudaFilterModeLinear, true));
  cudaResourceDesc resource{};
  cudaTextureDesc desc{};
  OK(cudaGetTextureObjectResourceDesc(&resource, texture.object));
  OK(cudaGetTextureObjectTextureDesc(&desc, texture.object));
  CHECK(resource.resType == cudaResourceTypeArray && resource.res.array.array == array.at);
  CHECK(desc.addressMode[1] == cudaAddressModeMirror && desc.normalizedCoords == 1);
  CHECK(desc.filterMode == cudaFilterModeLinear);
}

TEST(surface_reads_and_writes) {
  const Array array(ramp(32 * 4), 32, 4, 0, cudaArraySurfaceLoadStore);
  const cudaResourceDesc resource = array.resource();
  cudaSurfaceObject_t surface = 0;
  OK(cudaCreateSurfaceObject(&surface, &resource));
  double_surface<<<4, 32>>>(surface, 32);
  std::vector<float> back(128);
  OK(cudaMemcpy2DFromArray(back.data(), 128, array.at, 0, 0, 128, 4, cudaMemcpyDeviceToHost));
  for (int i = 0; i < 128; ++i) CHECK_AT(i, back[i] == static_cast<float>(2 * i));
  Device<float> edges(2);
  surface_edges<<<1, 1>>>(surface, edges.at);
  CHECK(edges.read()[0] == 0 && edges.read()[1] == 2 * 63);
  OK(cudaDestroySurfaceObject(surface));
}

TEST(surface_vectors_and_volumes) {
  std::vector<uchar4> colours(8, make_uchar4(1, 2, 3, 4));
  const Array flat(colours, 8, 1, 0, cudaArraySurfaceLoadStore);
  const Array volume(ramp(4 * 2 * 2), 4, 2, 2, cudaArraySurfaceLoadStore);
  const cudaResourceDesc first = flat.resource(), second = volume.resource();
  cudaSurfaceObject_t one = 0, two = 0;
  OK(cudaCreateSurfaceObject(&one, &first));
  OK(cudaCreateSurfaceObject(&two, &second));
  surface_vectors<<<1, 8>>>(one);
  OK(cudaMemcpy2DFromArray(colours.data(), 32, flat.at, 0, 0, 32, 1, cudaMemcpyDeviceToHost));
  CHECK(colours[7].x == 2 && colours[7].w == 4);
  surface_3d<<<1, 16>>>(two);
  Device<float> out(1);
  const Texture texture(second, how(cudaAddressModeClamp, cudaFilterModePoint, false));
  read_3d<<<1, 1>>>(texture.object, make_float3(3, 1, 1), out.at);
  CHECK(out.read()[0] == 15);
  OK(cudaDestroySurfaceObject(one));
  OK(cudaDestroySurfaceObject(two));
}
