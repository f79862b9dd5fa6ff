// SPDX-License-Identifier: Apache-2.0
// Four kinds of TypeScript tests. `unit` holds whatever needs no native build; a test that does
// lives in test/native (the addon alone) or test/e2e (real processes); test/tidy reads the tree.

import { defineConfig } from 'vitest/config';

const processes = { testTimeout: 120_000, hookTimeout: 120_000 };

export default defineConfig({
  test: {
    // Two cores are the machine that must be enough; more workers only make waits longer there.
    maxWorkers: 2,
    setupFiles: ['test/support/seed.ts'],
    coverage: { provider: 'v8', include: ['src/**', 'autogen/**'], exclude: ['src/gen/**'] },
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/{native,e2e,tidy,property,gpu}/**'],
          testTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: { name: 'tidy', include: ['test/tidy/**/*.test.ts'], testTimeout: 60_000 },
      },
      {
        extends: true,
        test: {
          name: 'native',
          include: ['test/native/**/*.test.ts'],
          pool: 'forks',
          ...processes,
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: ['test/{e2e,property}/**/*.test.ts'],
          pool: 'forks',
          ...processes,
        },
      },
    ],
  },
});
