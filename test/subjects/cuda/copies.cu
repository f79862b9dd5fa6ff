// SPDX-License-Identifier: Apache-2.0
// Copies and fills of every shape, mapped, registered and managed memory.
#include "judge.h"

#include <numeric>

namespace {

__device__ int symbol_table[64];
__constant__ int constant_table[16];

__global__ void add_number(int* data, int number) { data[threadIdx.x] += number; }
__global__ void read_constant(int* out) { out[threadIdx.x] = constant_table[threadIdx.x]; }

std::vector<int> numbers(size_t count, int first = 0) {
  std::vector<int> out(count);
  std::iota(out.begin(), out.end(), first);
  return out;
}

}  // namespace

TEST(copy_2d_every_direction) {
  constexpr size_t w = 37, h = 11;
  const std::vector<int> from = numbers(w * h);
  int *a = nullptr, *b = nullptr;
  size_t pa = 0, pb = 0;
  OK(cudaMallocPitch(&a, &pa, w * 4, h));
  OK(cudaMallocPitch(&b, &pb, w * 4 + 600, h));
  CHECK(pa % 4 == 0 && pb >= pa);
  OK(cudaMemcpy2D(a, pa, from.data(), w * 4, w * 4, h, cudaMemcpyHostToDevice));
  OK(cudaMemcpy2D(b, pb, a, pa, w * 4, h, cudaMemcpyDeviceToDevice));
  std::vector<int> back(w * h);
  OK(cudaMemcpy2D(back.data(), w * 4, b, pb, w * 4, h, cudaMemcpyDefault));
  CHECK(back == from);
  std::vector<int> host(w * h);
  OK(cudaMemcpy2D(host.data(), w * 4, back.data(), w * 4, w * 4, h, cudaMemcpyHostToHost));
  CHECK(host == from);
  OK(cudaMemset2D(a, pa, 0x11, w * 4, h - 1));
  OK(cudaMemcpy2D(back.data(), w * 4, a, pa, w * 4, h, cudaMemcpyDeviceToHost));
  CHECK(back[0] == 0x11111111 && back[w * (h - 1)] == from[w * (h - 1)]);
  EXPECT(cudaErrorInvalidPitchValue, cudaMemcpy2D(a, 8, back.data(), 8, 16, 2, cudaMemcpyDefault));
  OK(cudaFree(a));
  OK(cudaFree(b));
}

TEST(copy_2d_async_pinned) {
  constexpr size_t w = 64, h = 16;
  int *pinned = nullptr, *device = nullptr;
  size_t pitch = 0;
  cudaStream_t stream;
  OK(cudaStreamCreate(&stream));
  OK(cudaMallocHost(&pinned, 2 * w * h * 4));
  OK(cudaMallocPitch(&device, &pitch, w * 4, h));
  for (size_t i = 0; i < w * h; ++i) pinned[i] = static_cast<int>(i * 3);
  OK(cudaMemcpy2DAsync(device, pitch, pinned, w * 4, w * 4, h, cudaMemcpyHostToDevice, stream));
  OK(cudaMemset2DAsync(device, pitch, 0, 8, h, stream));
  OK(cudaMemcpy2DAsync(pinned + w * h, w * 4, device, pitch, w * 4, h, cudaMemcpyDeviceToHost,
                       stream));
  OK(cudaStreamSynchronize(stream));
  for (size_t i = 0; i < w * h; ++i) {
    CHECK_AT(i, pinned[w * h + i] == (i % w < 2 ? 0 : static_cast<int>(i * 3)));
  }
  OK(cudaFreeHost(pinned));
  OK(cudaFree(device));
  OK(cudaStreamDestroy(stream));
}

TEST(copy_3d_and_fill_3d) {
  const cudaExtent extent = make_cudaExtent(10 * 4, 7, 5);
  const std::vector<int> from = numbers(10 * 7 * 5);
  cudaPitchedPtr device{};
  OK(cudaMalloc3D(&device, extent));
  OK(cudaMemset3D(device, 0xff, extent));
  cudaMemcpy3DParms in{};
  in.srcPtr = make_cudaPitchedPtr(const_cast<int*>(from.data()), 40, 10, 7);
  in.dstPtr = device;
  in.extent = make_cudaExtent(5 * 4, 6, 4);
  in.dstPos = make_cudaPos(4 * 4, 1, 1);
  in.kind = cudaMemcpyHostToDevice;
  OK(cudaMemcpy3D(&in));
  std::vector<int> back(10 * 7 * 5);
  cudaMemcpy3DParms out{};
  out.srcPtr = device;
  out.dstPtr = make_cudaPitchedPtr(back.data(), 40, 10, 7);
  out.extent = extent;
  out.kind = cudaMemcpyDeviceToHost;
  OK(cudaMemcpy3DAsync(&out, nullptr));
  OK(cudaDeviceSynchronize());
  for (int z = 0; z < 5; ++z) {
    for (int y = 0; y < 7; ++y) {
      for (int x = 0; x < 10; ++x) {
        const bool inside = x >= 4 && x < 9 && y >= 1 && z >= 1;
        const int wanted = inside ? from[((z - 1) * 7 + y - 1) * 10 + x - 4] : -1;
        CHECK_AT(x, back[(z * 7 + y) * 10 + x] == wanted);
      }
    }
  }
  OK(cudaFree(device.ptr));
}

TEST(copy_array_rows) {
  cudaArray_t array = nullptr;
  const cudaChannelFormatDesc format = cudaCreateChannelDesc<int>();
  const std::vector<int> from = numbers(16 * 8);
  OK(cudaMallocArray(&array, &format, 16, 8));
  OK(cudaMemcpy2DToArray(array, 0, 0, from.data(), 64, 64, 8, cudaMemcpyHostToDevice));
  std::vector<int> back(4 * 3);
  OK(cudaMemcpy2DFromArray(back.data(), 16, array, 8, 2, 16, 3, cudaMemcpyDeviceToHost));
  for (int y = 0; y < 3; ++y) {
    for (int x = 0; x < 4; ++x) CHECK_AT(x, back[y * 4 + x] == from[(y + 2) * 16 + x + 2]);
  }
  cudaArray_t other = nullptr;
  OK(cudaMallocArray(&other, &format, 16, 8));
  OK(cudaMemcpy2DArrayToArray(other, 0, 0, array, 0, 0, 64, 8, cudaMemcpyDeviceToDevice));
  std::vector<int> all(16 * 8);
  OK(cudaMemcpy2DFromArray(all.data(), 64, other, 0, 0, 64, 8, cudaMemcpyDeviceToHost));
  CHECK(all == from);
  cudaChannelFormatDesc described{};
  cudaExtent extent{};
  unsigned flags = 1;
  OK(cudaArrayGetInfo(&described, &extent, &flags, array));
  CHECK(extent.width == 16 && extent.height == 8 && extent.depth == 0 && flags == 0);
  CHECK(described.x == 32 && described.f == cudaChannelFormatKindSigned);
  OK(cudaFreeArray(array));
  OK(cudaFreeArray(other));
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
TEST(copy_array_linear) {
  cudaArray_t array = nullptr;
  const cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
  const std::vector<float> from = {1, 2, 3, 4, 5, 6, 7, 8};
  OK(cudaMallocArray(&array, &format, 8));
  OK(cudaMemcpyToArray(array, 0, 0, from.data(), 32, cudaMemcpyHostToDevice));
  Device<float> device(8);
  OK(cudaMemcpyFromArray(device.at, array, 8, 0, 24, cudaMemcpyDeviceToDevice));
  CHECK(device.read()[0] == 3 && device.read()[5] == 8);
  std::vector<float> back(8);
  OK(cudaMemcpyFromArray(back.data(), array, 0, 0, 32, cudaMemcpyDeviceToHost));
  CHECK(back == from);
  OK(cudaFreeArray(array));
}
#pragma GCC diagnostic pop

TEST(copy_array_3d) {
  cudaArray_t array = nullptr;
  const cudaChannelFormatDesc format = cudaCreateChannelDesc<int>();
  const cudaExtent extent = make_cudaExtent(8, 4, 3);
  const std::vector<int> from = numbers(8 * 4 * 3);
  OK(cudaMalloc3DArray(&array, &format, extent));
  cudaMemcpy3DParms in{};
  in.srcPtr = make_cudaPitchedPtr(const_cast<int*>(from.data()), 32, 8, 4);
  in.dstArray = array;
  in.extent = extent;
  in.kind = cudaMemcpyHostToDevice;
  OK(cudaMemcpy3D(&in));
  std::vector<int> back(8 * 4 * 3);
  cudaMemcpy3DParms out{};
  out.srcArray = array;
  out.dstPtr = make_cudaPitchedPtr(back.data(), 32, 8, 4);
  out.extent = extent;
  out.kind = cudaMemcpyDeviceToHost;
  OK(cudaMemcpy3D(&out));
  CHECK(back == from);
  OK(cudaFreeArray(array));
}

TEST(copy_peer_same_device) {
  Device<int> a(numbers(100)), b(100);
  OK(cudaMemcpyPeer(b.at, 0, a.at, 0, 400));
  CHECK(b.read() == numbers(100));
  OK(cudaMemset(b.at, 0, 400));
  OK(cudaMemcpyPeerAsync(b.at, 0, a.at, 0, 200, nullptr));
  CHECK(b.read()[49] == 49 && b.read()[50] == 0);
}

TEST(copy_symbols) {
  const std::vector<int> from = numbers(64, 7);
  OK(cudaMemcpyToSymbol(symbol_table, from.data(), 128, 128));
  std::vector<int> back(64);
  OK(cudaMemcpyFromSymbol(back.data(), symbol_table, 256));
  CHECK(back[31] == 0 && back[32] == 7 && back[63] == 38);
  OK(cudaMemcpyToSymbolAsync(constant_table, from.data(), 64, 0, cudaMemcpyHostToDevice, nullptr));
  Device<int> out(16);
  read_constant<<<1, 16>>>(out.at);
  CHECK(out.read()[15] == 22);
  size_t size = 0;
  void* address = nullptr;
  OK(cudaGetSymbolSize(&size, symbol_table));
  OK(cudaGetSymbolAddress(&address, symbol_table));
  CHECK(size == 256);
  OK(cudaMemset(address, 0, size));
  OK(cudaMemcpyFromSymbol(back.data(), symbol_table, 256));
  CHECK(back[63] == 0);
}

TEST(memory_mapped) {
  int *host = nullptr, *device = nullptr;
  OK(cudaHostAlloc(&host, 32 * 4, cudaHostAllocMapped | cudaHostAllocPortable));
  for (int i = 0; i < 32; ++i) host[i] = i;
  OK(cudaHostGetDevicePointer(&device, host, 0));
  add_number<<<1, 32>>>(device, 5);
  OK(cudaDeviceSynchronize());
  for (int i = 0; i < 32; ++i) CHECK_AT(i, host[i] == i + 5);
  unsigned flags = 0;
  OK(cudaHostGetFlags(&flags, host));
  CHECK((flags & cudaHostAllocMapped) != 0);
  cudaPointerAttributes attributes{};
  OK(cudaPointerGetAttributes(&attributes, host));
  CHECK(attributes.type == cudaMemoryTypeHost && attributes.devicePointer == device);
  OK(cudaFreeHost(host));
}

TEST(memory_registered_copies) {
  std::vector<int> host(50000, 4);
  OK(cudaHostRegister(host.data(), host.size() * 4, cudaHostRegisterDefault));
  Device<int> device(host.size());
  cudaStream_t stream;
  OK(cudaStreamCreate(&stream));
  OK(cudaMemcpyAsync(device.at, host.data(), host.size() * 4, cudaMemcpyHostToDevice, stream));
  add_number<<<1, 32, 0, stream>>>(device.at, 5);
  OK(cudaMemcpyAsync(host.data(), device.at, host.size() * 4, cudaMemcpyDeviceToHost, stream));
  OK(cudaStreamSynchronize(stream));
  CHECK(host[0] == 9 && host[31] == 9 && host[32] == 4);
  EXPECT(cudaErrorHostMemoryAlreadyRegistered,
         cudaHostRegister(host.data(), host.size() * 4, cudaHostRegisterDefault));
  CHECK(cudaGetLastError() == cudaErrorHostMemoryAlreadyRegistered);
  OK(cudaHostUnregister(host.data()));
  EXPECT(cudaErrorHostMemoryNotRegistered, cudaHostUnregister(host.data()));
  CHECK(cudaGetLastError() == cudaErrorHostMemoryNotRegistered);
  OK(cudaStreamDestroy(stream));
}

TEST(memory_managed) {
  int* data = nullptr;
  OK(cudaMallocManaged(&data, 64 * 4));
  for (int i = 0; i < 64; ++i) data[i] = i;
  const cudaMemLocation here{cudaMemLocationTypeDevice, 0};
  OK(cudaMemAdvise(data, 256, cudaMemAdviseSetPreferredLocation, here));
  OK(cudaMemPrefetchAsync(data, 256, here, 0, nullptr));
  add_number<<<1, 64>>>(data, 100);
  const cudaMemLocation cpu{cudaMemLocationTypeHost, 0};
  OK(cudaMemPrefetchAsync(data, 256, cpu, 0, nullptr));
  OK(cudaDeviceSynchronize());
  for (int i = 0; i < 64; ++i) CHECK_AT(i, data[i] == i + 100);
  int read_mostly = 7;
  OK(cudaMemRangeGetAttribute(&read_mostly, 4, cudaMemRangeAttributeReadMostly, data, 256));
  CHECK(read_mostly == 0);
  OK(cudaMemset(data, 0, 256));
  OK(cudaDeviceSynchronize());
  CHECK(data[63] == 0);
  cudaStream_t stream;
  OK(cudaStreamCreate(&stream));
  OK(cudaStreamAttachMemAsync(stream, data, 0, cudaMemAttachSingle));
  add_number<<<1, 64, 0, stream>>>(data, 1);
  OK(cudaStreamSynchronize(stream));
  CHECK(data[5] == 1);
  OK(cudaStreamDestroy(stream));
  OK(cudaFree(data));
}

TEST(copy_batch) {
  Device<int> a(numbers(64)), b(64), c(64);
  std::vector<int> host(64);
  cudaStream_t stream;
  OK(cudaStreamCreate(&stream));
  void* to[3] = {b.at, c.at, host.data()};
  const void* from[3] = {a.at, a.at + 32, a.at};
  size_t sizes[3] = {256, 128, 256};
  cudaMemcpyAttributes attributes{};
  attributes.srcAccessOrder = cudaMemcpySrcAccessOrderStream;
  size_t first = 0;
  OK(cudaMemcpyBatchAsync(to, from, sizes, 3, &attributes, &first, 1, stream));
  OK(cudaStreamSynchronize(stream));
  CHECK(b.read() == numbers(64) && host == numbers(64));
  CHECK(c.read()[31] == 63 && c.read()[32] == 0);
  OK(cudaStreamDestroy(stream));
}

TEST(fill_1d_shapes) {
  Device<int> data(64);
  OK(cudaMemset(data.at, 0x7f, 100));
  CHECK(data.read()[24] == 0x7f7f7f7f && data.read()[25] == 0);
  OK(cudaMemsetAsync(data.at + 32, 1, 4, nullptr));
  CHECK(data.read()[32] == 0x01010101);
}
