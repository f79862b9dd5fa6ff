// SPDX-License-Identifier: Apache-2.0
// Frameworks, unmodified: each workload of test/gpu/workload.py with and without phos.

import { sameResult } from '../lib/cases.mjs';
import { source } from '../lib/place.mjs';

/** Name, and the seconds that it may take; torch.compile builds its kernels first. */
const workloads = {
  'compile-reduce-overhead': 150,
  'compile-default': 150,
  mlp: 60,
  gpt2: 75,
  'gpt2-fused': 75,
  'gpt2-sgd': 75,
  resnet: 90,
  'resnet-channels-last': 90,
  llama: 75,
  graph: 60,
  'attention-flash': 60,
  'attention-cudnn': 60,
  loader: 90,
  cupy: 75,
  jax: 90,
  nccl: 75,
  profiler: 75,
  queries: 60,
};

export const torch = {
  parallel: 5,
  budgetMs: 200_000,
  cases: ({ scratch }) =>
    Object.entries(workloads).map(([name, seconds]) =>
      sameResult({
        name,
        command: ['python3', source('test/gpu/workload.py'), name],
        deadlineMs: seconds * 1000,
        // Both sides compile for themselves only if nothing is kept from earlier runs.
        env: {
          TORCHINDUCTOR_CACHE_DIR: `${scratch}/inductor-${name}`,
          TRITON_CACHE_DIR: `${scratch}/triton-${name}`,
          OMP_NUM_THREADS: '2',
          PYTHONDONTWRITEBYTECODE: '1',
        },
      }),
    ),
};
