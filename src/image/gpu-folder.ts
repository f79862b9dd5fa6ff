// SPDX-License-Identifier: Apache-2.0
// A gpu-K folder read by the second reader from end to end.
import { invalidFile } from './cursor.ts';
import { checkDataFiles, readChunks } from './gpu-extents.ts';
import { type GpuIndex, readGpuIndex } from './gpu-index.ts';
import { type GpuObjects, readBlobs, readGpuObjects } from './gpu-objects.ts';
import { readHeader } from './gpu-files.ts';

export interface GpuFolder {
  readonly objects: GpuObjects;
  readonly blobs: ReadonlyMap<string, Buffer>;
  readonly index: GpuIndex;
}

/**
 * Reads what describes a folder and looks at its data files.
 *
 * @throws PhosError IMAGE_INVALID naming file and offset, UNSUPPORTED for another version,
 *   PERMISSION without the key of an encrypted image or with another, STORAGE
 */
export async function openGpuFolder(directory: string, key: Buffer | null): Promise<GpuFolder> {
  await checkTogether(directory);
  const objects = await readGpuObjects(directory, key);
  const { blobs } = await readBlobs(directory, key);
  const index = await readGpuIndex(directory, key);
  const missing = objects.objects.find(({ image }) => image !== null && !blobs.has(image));
  if (missing !== undefined) throw invalidFile(`${directory}/blobs`, 0, 'a code image is missing');
  checkCoverage(directory, objects, index);
  await checkDataFiles(index);
  return { objects, blobs, index };
}

/** Reads every byte of a folder that openGpuFolder() opened. @throws PhosError IMAGE_INVALID */
export async function verifyGpuFolder(
  folder: GpuFolder,
  key: Buffer | null,
  onBytes: (bytes: number) => void,
): Promise<void> {
  await readChunks(folder.index, key, (chunk) => onBytes(chunk.bytes));
}

/** Before any key is tried: a damaged image id would look like another key. */
async function checkTogether(directory: string): Promise<void> {
  const objects = await readHeader(directory, 'objects');
  for (const name of ['blobs', 'chunks'] as const) {
    const other = await readHeader(directory, name);
    const alike = other.seed === objects.seed && other.sealed === objects.sealed;
    if (!alike || other.imageId !== objects.imageId) {
      throw invalidFile(`${directory}/${name}`, 48, 'the file belongs to another image');
    }
  }
}

const GRANULE = 2n << 20n;

/** Every granule with live memory and every variable has its chunks, and nothing else has. */
function checkCoverage(directory: string, objects: GpuObjects, index: GpuIndex): void {
  const wanted: [bigint, bigint][] = [];
  const sorted = [...objects.allocations].sort((a, b) => (a.address < b.address ? -1 : 1));
  let last = 0n;
  for (const { address, bytes } of sorted) {
    if (address < last) throw invalidFile(`${directory}/objects`, 0, 'two allocations overlap');
    last = address + bytes;
    const from = (address / GRANULE) * GRANULE;
    const to = ((last + GRANULE - 1n) / GRANULE) * GRANULE;
    const before = wanted.at(-1);
    if (before !== undefined && from <= before[1]) before[1] = to;
    else wanted.push([from, to]);
  }
  for (const { address, bytes } of objects.variables) wanted.push([address, address + bytes]);
  wanted.sort((a, b) => (a[0] < b[0] ? -1 : 1));
  const path = `${directory}/chunks`;
  let next = 0;
  for (const [from, to] of wanted) {
    let at = from;
    while (at < to) {
      const chunk = index.chunks[next];
      if (chunk?.address !== at) throw invalidFile(path, 0, 'memory of an allocation is missing');
      at += BigInt(chunk.bytes);
      next += 1;
    }
    if (at !== to) throw invalidFile(path, 0, 'a chunk leaves its allocation');
  }
  if (next !== index.chunks.length) throw invalidFile(path, 0, 'a chunk of no allocation');
}
