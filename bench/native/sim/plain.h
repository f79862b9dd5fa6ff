// SPDX-License-Identifier: Apache-2.0
// The same work as the kernels in kernels.cu, as a loop for one core.
#pragma once

namespace phos::bench {

void plain_sgemm(const float* a, const float* b, float* c, int edge);
float plain_reduce(const float* in, int count);
void plain_vectoradd(const float* a, const float* b, float* c, int count);

}  // namespace phos::bench
