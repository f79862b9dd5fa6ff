// SPDX-License-Identifier: Apache-2.0
// Textures that no honest program makes: nothing outside their memory may be read.
#include "sim_fixture.h"

namespace phos::sim::test {
namespace {

// Gathers at (0, y) of a two-dimensional texture, whatever the texture has.
constexpr char kGather[] = R"(
.version 7.0
.target sm_80
.address_size 64
.visible .entry gather(.param .u64 texture, .param .f32 y, .param .u64 out)
{
  .reg .f32 %f<8>;
  .reg .b64 %rd<4>;
  ld.param.u64 %rd1, [texture];
  ld.param.f32 %f1, [y];
  ld.param.u64 %rd2, [out];
  mov.f32 %f2, 0f00000000;
  tld4.r.2d.v4.f32.f32 {%f3, %f4, %f5, %f6}, [%rd1, {%f2, %f1}];
  st.global.f32 [%rd2], %f3;
  ret;
}
)";

class Textures : public SimTest {
 protected:
  static CUDA_RESOURCE_DESC pitched(CUdeviceptr at, std::size_t width, std::size_t height,
                                    std::size_t pitch) {
    CUDA_RESOURCE_DESC resource{};
    resource.resType = CU_RESOURCE_TYPE_PITCH2D;
    resource.res.pitch2D.devPtr = at;
    resource.res.pitch2D.format = CU_AD_FORMAT_FLOAT;
    resource.res.pitch2D.numChannels = 1;
    resource.res.pitch2D.width = width;
    resource.res.pitch2D.height = height;
    resource.res.pitch2D.pitchInBytes = pitch;
    return resource;
  }
  static CUDA_RESOURCE_DESC linear(CUdeviceptr at, std::size_t bytes) {
    CUDA_RESOURCE_DESC resource{};
    resource.resType = CU_RESOURCE_TYPE_LINEAR;
    resource.res.linear.devPtr = at;
    resource.res.linear.format = CU_AD_FORMAT_FLOAT;
    resource.res.linear.numChannels = 1;
    resource.res.linear.sizeInBytes = bytes;
    return resource;
  }
  CUDA_TEXTURE_DESC plain{};
};

TEST_F(Textures, OverMemoryHaveLimits) {
  const CUdeviceptr at = allocate(1U << 20);
  CUtexObject made = 0;
  const CUDA_RESOURCE_DESC fits = pitched(at, 64, 64, 256);
  ASSERT_CUDA(cuTexObjectCreate(&made, &fits, &plain, nullptr));
  EXPECT_CUDA(cuTexObjectDestroy(made));
  // Rows times pitch is a small number again where it wraps around.
  const CUDA_RESOURCE_DESC wraps = pitched(at, 64, (1ULL << 56) + 1, 256);
  const CUDA_RESOURCE_DESC high = pitched(at, 64, 65001, 256);
  const CUDA_RESOURCE_DESC beyond = pitched(at, 64, 4097, 256);
  for (const CUDA_RESOURCE_DESC& resource : {wraps, high, beyond}) {
    EXPECT_ERROR(cuTexObjectCreate(&made, &resource, &plain, nullptr), CUDA_ERROR_INVALID_VALUE);
  }
  EXPECT_CUDA(cuMemFree(at));
}

TEST_F(Textures, OfOneRowHaveNoOther) {
  const CUdeviceptr at = upload(std::vector<float>(64, 3.0F));
  const CUdeviceptr out = allocate(4);
  CUmodule module = nullptr;
  CUfunction gather = nullptr;
  ASSERT_CUDA(cuModuleLoadData(&module, kGather));
  ASSERT_CUDA(cuModuleGetFunction(&gather, module, "gather"));
  CUtexObject texture = 0;
  const CUDA_RESOURCE_DESC row = linear(at, 256);
  ASSERT_CUDA(cuTexObjectCreate(&texture, &row, &plain, nullptr));
  for (float y : {0.0F, 1e8F, -1e8F}) {
    void* parameters[] = {&texture, &y, const_cast<CUdeviceptr*>(&out)};
    ASSERT_CUDA(cuLaunchKernel(gather, 1, 1, 1, 1, 1, 1, 0, nullptr, parameters, nullptr));
    EXPECT_CUDA(cuCtxSynchronize(nullptr));
    EXPECT_EQ(download<float>(out, 1)[0], 3.0F);
  }
  EXPECT_CUDA(cuTexObjectDestroy(texture));
  EXPECT_CUDA(cuModuleUnload(module));
}

}  // namespace
}  // namespace phos::sim::test
