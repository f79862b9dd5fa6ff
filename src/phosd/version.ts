// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { packageRoot } from '../model/locate.ts';

/** Version of this phos, from package.json. */
export const VERSION: string = (
  JSON.parse(readFileSync(new URL('package.json', packageRoot), 'utf8')) as { version: string }
).version;
