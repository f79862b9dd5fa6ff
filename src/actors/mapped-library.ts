// SPDX-License-Identifier: Apache-2.0
// Which copy of the client library a program has mapped.
import { dirname } from 'node:path';
import { readMappings } from '../host/proc.ts';

/** The folder STATE/lib/HASH that one of these processes has its libcuda from, or null. */
export function mappedLibrary(pids: readonly number[]): string | null {
  for (const pid of pids) {
    for (const { path } of readMappings(pid)) {
      if (/\/lib\/[0-9a-f]{16,64}\/libcuda\.so(\.1)?$/.test(path)) return dirname(path);
    }
  }
  return null;
}
