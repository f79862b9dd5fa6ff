// SPDX-License-Identifier: Apache-2.0
// Writes one made-up image into the folder that its argument names: a process of its own, for the
// crash test.
import { makeImage } from './made-image.ts';

await makeImage(process.argv[2] ?? '', { tool: { bytes: 2 << 20, kind: 'text', compress: 1 } });
