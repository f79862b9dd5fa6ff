// SPDX-License-Identifier: Apache-2.0
#include <fstream>
#include <numeric>

#include "kernels.h"
#include "sim_fixture.h"

namespace phos::sim::test {
namespace {

class Modules : public SimTest {
 protected:
  void SetUp() override {
    SimTest::SetUp();
    ASSERT_CUDA(cuModuleLoadData(&module, kKernels));
  }
  CUfunction function(const char* name) {
    CUfunction found = nullptr;
    EXPECT_CUDA(cuModuleGetFunction(&found, module, name));
    return found;
  }
  CUmodule module = nullptr;
};

TEST_F(Modules, RunTheirKernels) {
  const std::uint32_t count = 1000;
  std::vector<std::uint32_t> values(count);
  std::iota(values.begin(), values.end(), 100U);
  CUdeviceptr in = upload(values);
  CUdeviceptr out = allocate(count * 4);
  std::uint32_t n = count;
  void* parameters[] = {&out, &in, &n};
  ASSERT_CUDA(cuLaunchKernel(function("scale"), 8, 1, 1, 128, 1, 1, 0, nullptr, parameters,
                             nullptr));
  const auto result = download<std::uint32_t>(out, count);
  for (std::uint32_t i = 0; i < count; ++i) {
    ASSERT_EQ(result[i], (100 + i) * 3 + i);
  }
  // The same with the parameters as one buffer.
  struct {
    CUdeviceptr out;
    CUdeviceptr in;
    std::uint32_t n;
  } buffer{out, in, 1};
  std::size_t bytes = sizeof buffer;
  void* extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &buffer, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes,
                   CU_LAUNCH_PARAM_END};
  ASSERT_CUDA(cuMemsetD8(out, 0, count * 4));
  ASSERT_CUDA(cuLaunchKernel(function("scale"), 8, 1, 1, 128, 1, 1, 0, nullptr, nullptr, extra));
  EXPECT_EQ(download<std::uint32_t>(out, 2), (std::vector<std::uint32_t>{300, 0}));
}

TEST_F(Modules, ShareMemoryWithinABlock) {
  CUdeviceptr out = allocate(128 * 4);
  void* parameters[] = {&out};
  ASSERT_CUDA(cuLaunchKernel(function("rotate"), 1, 1, 1, 128, 1, 1, 0, nullptr, parameters,
                             nullptr));
  const auto result = download<std::uint32_t>(out, 128);
  EXPECT_EQ(result[0], 127U);
  EXPECT_EQ(result[127], 126U);
}

TEST_F(Modules, HaveVariables) {
  CUdeviceptr counter = 0;
  CUdeviceptr factor = 0;
  CUdeviceptr pointer = 0;
  std::size_t bytes = 0;
  ASSERT_CUDA(cuModuleGetGlobal(&counter, &bytes, module, "counter"));
  EXPECT_EQ(bytes, 4U);
  EXPECT_GE(counter, 0x210000000000U);
  EXPECT_LT(counter, 0x218000000000U);
  EXPECT_EQ(download<std::uint32_t>(counter, 1)[0], 5U);
  ASSERT_CUDA(cuLaunchKernel(function("count"), 3, 1, 1, 64, 1, 1, 0, nullptr, nullptr, nullptr));
  EXPECT_EQ(download<std::uint32_t>(counter, 1)[0], 5U + 192);
  ASSERT_CUDA(cuModuleGetGlobal(&pointer, nullptr, module, "pointer_to_counter"));
  EXPECT_EQ(download<std::uint64_t>(pointer, 1)[0], counter);
  // Constant memory is written by the host.
  ASSERT_CUDA(cuModuleGetGlobal(&factor, &bytes, module, "factor"));
  const std::uint32_t ten = 10;
  ASSERT_CUDA(cuMemcpyHtoD(factor, &ten, 4));
  CUdeviceptr data = upload(std::vector<std::uint32_t>{4});
  std::uint32_t n = 1;
  void* parameters[] = {&data, &data, &n};
  ASSERT_CUDA(cuLaunchKernel(function("scale"), 1, 1, 1, 32, 1, 1, 0, nullptr, parameters,
                             nullptr));
  EXPECT_EQ(download<std::uint32_t>(data, 1)[0], 40U);
  EXPECT_ERROR(cuModuleGetGlobal(&counter, &bytes, module, "nothing"), CUDA_ERROR_NOT_FOUND);
}

TEST_F(Modules, NeverReuseAddressesOfVariables) {
  CUdeviceptr before = 0;
  CUdeviceptr after = 0;
  ASSERT_CUDA(cuModuleGetGlobal(&before, nullptr, module, "counter"));
  ASSERT_CUDA(cuModuleUnload(module));
  EXPECT_ERROR(cuModuleUnload(module), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_ERROR(cuMemsetD8(before, 0, 1), CUDA_ERROR_INVALID_VALUE);
  ASSERT_CUDA(cuModuleLoadData(&module, kKernels));
  ASSERT_CUDA(cuModuleGetGlobal(&after, nullptr, module, "counter"));
  EXPECT_GT(after, before);
}

TEST_F(Modules, ComeFromFatbinsToo) {
  CUmodule other = nullptr;
  const std::string folder = PHOS_FIXTURE_DIR;
  ASSERT_CUDA(cuModuleLoad(&other, (folder + "/zstd.fatbin").c_str()));
  CUfunction add = nullptr;
  ASSERT_CUDA(cuModuleGetFunction(&add, other, "add"));
  EXPECT_ERROR(cuModuleLoad(&other, (folder + "/cubin_only.fatbin").c_str()),
               CUDA_ERROR_NO_BINARY_FOR_GPU);
  EXPECT_ERROR(cuModuleLoad(&other, (folder + "/missing").c_str()), CUDA_ERROR_FILE_NOT_FOUND);
  EXPECT_ERROR(cuModuleLoadData(&other, "nonsense"), CUDA_ERROR_INVALID_IMAGE);
  EXPECT_ERROR(cuModuleLoadData(&other, ".version 8.0\n.target sm_80\n.entry k() { frob; }"),
               CUDA_ERROR_INVALID_PTX);
  EXPECT_ERROR(cuModuleLoadData(nullptr, kKernels), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(Modules, TellAboutFunctions) {
  CUfunction scale = function("scale");
  int value = 0;
  ASSERT_CUDA(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, scale));
  EXPECT_EQ(value, 1024);
  ASSERT_CUDA(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK,
                                 function("bounded")));
  EXPECT_EQ(value, 64);
  ASSERT_CUDA(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES,
                                 function("rotate")));
  EXPECT_EQ(value, 512);
  ASSERT_CUDA(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_BINARY_VERSION, scale));
  EXPECT_EQ(value, 86);
  std::size_t offset = 0;
  std::size_t bytes = 0;
  ASSERT_CUDA(cuFuncGetParamInfo(scale, 2, &offset, &bytes));
  EXPECT_EQ(offset, 16U);
  EXPECT_EQ(bytes, 4U);
  EXPECT_ERROR(cuFuncGetParamInfo(scale, 3, &offset, &bytes), CUDA_ERROR_INVALID_VALUE);
  const char* name = nullptr;
  ASSERT_CUDA(cuFuncGetName(&name, scale));
  EXPECT_STREQ(name, "scale");
  CUmodule owner = nullptr;
  ASSERT_CUDA(cuFuncGetModule(&owner, scale));
  EXPECT_EQ(owner, module);
  CUfunction missing = nullptr;
  EXPECT_ERROR(cuModuleGetFunction(&missing, module, "missing"), CUDA_ERROR_NOT_FOUND);
  unsigned count = 0;
  ASSERT_CUDA(cuModuleGetFunctionCount(&count, module));
  EXPECT_EQ(count, 7U);
}

TEST_F(Modules, AreLibrariesAsWell) {
  CUlibrary library = nullptr;
  ASSERT_CUDA(cuLibraryLoadData(&library, kKernels, nullptr, nullptr, 0, nullptr, nullptr, 0));
  unsigned count = 0;
  ASSERT_CUDA(cuLibraryGetKernelCount(&count, library));
  EXPECT_EQ(count, 7U);
  CUkernel kernel = nullptr;
  ASSERT_CUDA(cuLibraryGetKernel(&kernel, library, "count"));
  CUdeviceptr counter = 0;
  ASSERT_CUDA(cuLibraryGetGlobal(&counter, nullptr, library, "counter"));
  // A kernel may stand where a function is asked for.
  ASSERT_CUDA(cuLaunchKernel(reinterpret_cast<CUfunction>(kernel), 1, 1, 1, 32, 1, 1, 0, nullptr,
                             nullptr, nullptr));
  CUfunction resolved = nullptr;
  ASSERT_CUDA(cuKernelGetFunction(&resolved, kernel));
  ASSERT_CUDA(cuLaunchKernel(resolved, 1, 1, 1, 32, 1, 1, 0, nullptr, nullptr, nullptr));
  EXPECT_EQ(download<std::uint32_t>(counter, 1)[0], 5U + 64);
  int value = 0;
  ASSERT_CUDA(cuKernelSetAttribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 90000, kernel,
                                   0));
  ASSERT_CUDA(cuKernelGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                   kernel, 0));
  EXPECT_EQ(value, 90000);
  EXPECT_ERROR(cuLibraryGetKernel(&kernel, library, "nothing"), CUDA_ERROR_NOT_FOUND);
  EXPECT_ERROR(cuLibraryGetManaged(&counter, nullptr, library, "counter"), CUDA_ERROR_NOT_FOUND);
  ASSERT_CUDA(cuLibraryUnload(library));
  EXPECT_ERROR(cuLibraryUnload(library), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_ERROR(cuKernelGetFunction(&resolved, kernel), CUDA_ERROR_INVALID_HANDLE);
}

TEST_F(Modules, TakePartInGraphs) {
  CUstream stream = nullptr;
  ASSERT_CUDA(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  CUdeviceptr counter = 0;
  ASSERT_CUDA(cuModuleGetGlobal(&counter, nullptr, module, "counter"));
  CUdeviceptr data = upload(std::vector<std::uint32_t>{1});
  std::uint32_t n = 1;
  void* parameters[] = {&data, &data, &n};
  ASSERT_CUDA(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  ASSERT_CUDA(cuLaunchKernel(function("count"), 1, 1, 1, 32, 1, 1, 0, stream, nullptr, nullptr));
  ASSERT_CUDA(cuLaunchKernel(function("scale"), 1, 1, 1, 32, 1, 1, 0, stream, parameters,
                             nullptr));
  CUgraph graph = nullptr;
  ASSERT_CUDA(cuStreamEndCapture(stream, &graph));
  CUgraphExec exec = nullptr;
  ASSERT_CUDA(cuGraphInstantiateWithFlags(&exec, graph, 0));
  for (int i = 0; i < 3; ++i) {
    ASSERT_CUDA(cuGraphLaunch(exec, stream));
  }
  ASSERT_CUDA(cuStreamSynchronize(stream));
  EXPECT_EQ(download<std::uint32_t>(counter, 1)[0], 5U + 96);
  EXPECT_EQ(download<std::uint32_t>(data, 1)[0], 27U);
  CUgraphNode nodes[2]{};
  std::size_t count = 2;
  ASSERT_CUDA(cuGraphGetNodes(graph, nodes, &count));
  CUDA_KERNEL_NODE_PARAMS read{};
  ASSERT_CUDA(cuGraphKernelNodeGetParams(nodes[1], &read));
  EXPECT_EQ(read.func, function("scale"));
  EXPECT_EQ(*static_cast<CUdeviceptr*>(read.kernelParams[1]), data);
  CUdeviceptr other = upload(std::vector<std::uint32_t>{100});
  parameters[1] = &other;
  read.kernelParams = parameters;
  ASSERT_CUDA(cuGraphExecKernelNodeSetParams(exec, nodes[1], &read));
  ASSERT_CUDA(cuGraphLaunch(exec, stream));
  ASSERT_CUDA(cuStreamSynchronize(stream));
  EXPECT_EQ(download<std::uint32_t>(data, 1)[0], 300U);
}

}  // namespace
}  // namespace phos::sim::test
