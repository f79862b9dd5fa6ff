// SPDX-License-Identifier: Apache-2.0
// Compiled with -O2 and nothing else: what a plain C++ program would get.
#include "plain.h"

namespace phos::bench {

void plain_sgemm(const float* a, const float* b, float* c, int edge) {
  for (int i = 0; i < edge; ++i) {
    for (int j = 0; j < edge; ++j) {
      float sum = 0.0F;
      for (int k = 0; k < edge; ++k) {
        sum += a[i * edge + k] * b[k * edge + j];
      }
      c[i * edge + j] = sum;
    }
  }
}

float plain_reduce(const float* in, int count) {
  float sum = 0.0F;
  for (int i = 0; i < count; ++i) {
    sum += in[i];
  }
  return sum;
}

void plain_vectoradd(const float* a, const float* b, float* c, int count) {
  for (int i = 0; i < count; ++i) {
    c[i] = a[i] + b[i];
  }
}

}  // namespace phos::bench
