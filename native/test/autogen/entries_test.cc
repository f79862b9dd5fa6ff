// SPDX-License-Identifier: Apache-2.0
// The exported symbols: each goes to the body of its name, with the stream that it stands for.
#include <gtest/gtest.h>

#include "stubs.h"

namespace {

using phos::client::StreamMode;

const CUstream kStream = reinterpret_cast<CUstream>(0x7A0C00000001);

TEST(Entries, EveryAbiOfANameReachesOneBody) {
  EXPECT_EQ(cuMemAlloc_v2(nullptr, 1), CUDA_SUCCESS);
  EXPECT_EQ(g_noted.name, "cuMemAlloc");
  EXPECT_EQ(cuStreamDestroy(kStream), CUDA_SUCCESS);
  EXPECT_EQ(g_noted.name, "cuStreamDestroy");
  EXPECT_EQ(cuStreamDestroy_v2(kStream), CUDA_SUCCESS);
  EXPECT_EQ(g_noted.name, "cuStreamDestroy");
  EXPECT_EQ(g_noted.stream, kStream);
}

TEST(Entries, PerThreadSymbolsMeanThePerThreadStream) {
  EXPECT_EQ(cuStreamQuery(nullptr), CUDA_SUCCESS);
  EXPECT_EQ(g_noted.stream, nullptr);
  EXPECT_EQ(cuStreamQuery_ptsz(nullptr), CUDA_SUCCESS);
  EXPECT_EQ(g_noted.stream, CU_STREAM_PER_THREAD);
  EXPECT_EQ(cuStreamQuery_ptsz(CU_STREAM_LEGACY), CUDA_SUCCESS);
  EXPECT_EQ(g_noted.stream, CU_STREAM_LEGACY);
  EXPECT_EQ(cuStreamQuery_ptsz(kStream), CUDA_SUCCESS);
  EXPECT_EQ(g_noted.stream, kStream);
}

TEST(Entries, CallsWithoutAStreamAreToldWhichDefaultIsMeant) {
  EXPECT_EQ(cuMemcpyHtoD_v2(0, nullptr, 0), CUDA_SUCCESS);
  EXPECT_EQ(g_noted.mode, StreamMode::legacy);
  EXPECT_EQ(cuMemcpyHtoD_v2_ptds(0, nullptr, 0), CUDA_SUCCESS);
  EXPECT_EQ(g_noted.mode, StreamMode::per_thread);
  EXPECT_EQ(cuLaunchKernelEx_ptsz(nullptr, nullptr, nullptr, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(g_noted.mode, StreamMode::per_thread);
}

TEST(Entries, OldSignaturesAreAdaptedWhereARuleSaysHow) {
  EXPECT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  EXPECT_EQ(g_noted.name, "cuCtxSynchronize");
  EXPECT_EQ(cuStreamGetCtx_ptsz(nullptr, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(g_noted.name, "cuStreamGetCtx");
  EXPECT_EQ(g_noted.stream, CU_STREAM_PER_THREAD);
  EXPECT_EQ(cuStreamBeginCapture(kStream), CUDA_SUCCESS);
  EXPECT_EQ(g_noted.name, "cuStreamBeginCapture");
}

TEST(Entries, WhatHasNoBodySaysThatItIsNotSupported) {
  // 32-bit device pointers of CUDA 2.
  EXPECT_EQ(cuMemAlloc(nullptr, 1), CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_EQ(g_noted.name, "cuMemAlloc");
  EXPECT_EQ(cuGreenCtxDestroy(nullptr), CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_EQ(g_noted.name, "cuGreenCtxDestroy");
}

}  // namespace
