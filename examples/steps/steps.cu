// SPDX-License-Identifier: Apache-2.0
// The kernels of the example. steps.ptx beside this file is what nvcc makes of it:
//   nvcc -ptx -arch=compute_75 -o steps.ptx steps.cu
// Everything is exact: integers wrap, floats use single rounded operations, and the only atomic
// is an integer sum. So the result depends on nothing but the arguments.

// State that lives in the module rather than in an allocation.
extern "C" {
__device__ unsigned long long total = 0;
__constant__ unsigned int keys[16] = {1};
}

__device__ __forceinline__ unsigned int rotate(unsigned int x, unsigned int by) {
  return (x << by) | (x >> (32u - by));
}

/// Fills `count` words with a hash of their index.
extern "C" __global__ void fill(unsigned int *data, unsigned long long count, unsigned int seed) {
  const unsigned long long stride = static_cast<unsigned long long>(gridDim.x) * blockDim.x;
  unsigned long long i = static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (; i < count; i += stride) {
    unsigned int x = static_cast<unsigned int>(i) * 2654435761u ^ seed;
    x = (x ^ (x >> 15)) * 2246822519u;
    x = (x ^ (x >> 13)) * 3266489917u;
    data[i] = x ^ (x >> 16);
  }
}

/// Mixes words of `in` into `out`; each thread reads one far neighbour and writes its own word.
extern "C" __global__ void mix(unsigned int *out, const unsigned int *in, unsigned int count,
                               unsigned int step, unsigned int rounds) {
  const unsigned int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  unsigned int x = in[i] ^ keys[step & 15u];
  unsigned int y = in[(i * 2654435761u + step) % count];
  for (unsigned int r = 0; r < rounds; ++r) {
    x = rotate(x + y, 5u + (r & 7u)) * 2654435769u;
    y ^= x >> 7;
  }
  out[i] = (out[i] * 3u) ^ x ^ y;
}

/// Lets a field of floats follow the words; values stay between 0 and 2.
extern "C" __global__ void follow(float *field, const unsigned int *in, unsigned int count) {
  const unsigned int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const float here = static_cast<float>(in[i] & 0xffffu) * (1.0f / 65536.0f);
  const float next = static_cast<float>(in[(i + 1u) % count] >> 16) * (1.0f / 65536.0f);
  field[i] = __fmaf_rn(here - next, 0.25f, __fmul_rn(field[i], 0.5f)) + 0.5f;
}

/// Adds all words of `in` to `total`: in shared memory for each block of 256, then atomically.
extern "C" __global__ void tally(const unsigned int *in, unsigned int count) {
  __shared__ unsigned long long sums[256];
  const unsigned int i = blockIdx.x * blockDim.x + threadIdx.x;
  sums[threadIdx.x] = i < count ? in[i] : 0u;
  __syncthreads();
  for (unsigned int half = 128; half > 0; half /= 2) {
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) atomicAdd(&total, sums[0]);
}
