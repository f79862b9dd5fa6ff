// SPDX-License-Identifier: Apache-2.0
// One seed for every property test of a run. A failure prints it; PHOS_SEED runs it again. In CI
// the seed must be given, so that its log alone is enough to repeat what it did.

import fc from 'fast-check';

const given = process.env['PHOS_SEED'];
if (given === undefined && process.env['CI'] !== undefined && process.env['CI'] !== '') {
  throw new Error('set PHOS_SEED in CI, so that a failure can be repeated');
}
const seed = given === undefined ? Date.now() & 0x7fffffff : Number.parseInt(given, 10);
if (!Number.isInteger(seed)) throw new Error(`PHOS_SEED is '${given}'; it must be an integer`);

// 'medium' is one size up from the default, with which flat lists of events are too short to let a
// dropped guard show.
fc.configureGlobal({ seed, baseSize: 'medium' });
