// SPDX-License-Identifier: Apache-2.0
// The kernels that sim_costs times. kernels.ptx beside this file is what nvcc makes of it:
//   nvcc -ptx -arch=compute_86 -o kernels.ptx kernels.cu
// Each does what its namesake in plain.cc does, as a CUDA programmer would write it.

extern "C" __global__ void nothing() {}

/// c = a * b for square matrices; the edge is a multiple of 16. Blocks of 16 x 16.
extern "C" __global__ void sgemm(const float *a, const float *b, float *c, int edge) {
  __shared__ float left[16][16];
  __shared__ float right[16][16];
  const int row = blockIdx.y * 16 + threadIdx.y;
  const int column = blockIdx.x * 16 + threadIdx.x;
  float sum = 0.0f;
  for (int tile = 0; tile < edge; tile += 16) {
    left[threadIdx.y][threadIdx.x] = a[row * edge + tile + threadIdx.x];
    right[threadIdx.y][threadIdx.x] = b[(tile + threadIdx.y) * edge + column];
    __syncthreads();
    for (int k = 0; k < 16; ++k) sum += left[threadIdx.y][k] * right[k][threadIdx.x];
    __syncthreads();
  }
  c[row * edge + column] = sum;
}

/// One partial sum for each block of 256 threads.
extern "C" __global__ void reduce(const float *in, float *out, int count) {
  __shared__ float warps[8];
  float sum = 0.0f;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
    sum += in[i];
  }
  for (int by = 16; by > 0; by /= 2) sum += __shfl_down_sync(0xffffffffu, sum, by);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x < 32) {
    sum = threadIdx.x < 8 ? warps[threadIdx.x] : 0.0f;
    for (int by = 4; by > 0; by /= 2) sum += __shfl_down_sync(0xffffffffu, sum, by);
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
  }
}

extern "C" __global__ void vectoradd(const float *a, const float *b, float *c, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) c[i] = a[i] + b[i];
}

/// Only loaded, never run: code with more kinds of instructions than those above.
extern "C" __global__ void mixture(const double *in, double *out, unsigned *bins, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const double x = in[i];
  const float y = static_cast<float>(x);
  double sum = sin(x) * exp(x) + pow(x, 1.5);
  sum += sinf(y) / sqrtf(y) + __expf(y) + static_cast<int>(y) % 7;
  atomicAdd(&bins[__float_as_uint(y) >> 24], static_cast<unsigned>(__popc(i)));
  out[i] = sum;
}
