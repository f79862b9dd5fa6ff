// SPDX-License-Identifier: Apache-2.0
// A disk on which the calls that record_calls.so wrote down are done again, up to any point, as a
// crash there could have left it.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

export interface DiskCall {
  readonly op: 'create' | 'write' | 'sync' | 'mkdir' | 'rename' | 'unlink';
  readonly path: string;
  /** Of a rename. */
  readonly to: string | null;
  readonly offset: number;
  readonly data: Buffer;
}

/** The calls of a log, in order. */
export function readCalls(log: Buffer): DiskCall[] {
  const calls: DiskCall[] = [];
  for (let at = 0; at < log.length; ) {
    const end = log.indexOf('\n', at);
    const line = log.subarray(at, end).toString();
    const [, op, paths = '', offset, bytes] = /^(\w+) (.*) (-?\d+) (\d+)$/.exec(line) ?? [];
    if (op === undefined) throw new Error(`a call that cannot be read: ${line}`);
    const [path = '', to = null] = paths.split('>');
    const data = log.subarray(end + 1, end + 1 + Number(bytes));
    calls.push({ op: op as DiskCall['op'], path, to, offset: Number(offset), data });
    at = end + 1 + data.length;
  }
  return calls;
}

interface DiskFile {
  data: Buffer;
  /** What a crash leaves of it. */
  durable: Buffer;
}

/** Files and folders under one folder, with what of them was synced. */
export class Disk {
  readonly files = new Map<string, DiskFile>();
  readonly folders = new Set<string>();

  apply({ op, path, to, offset, data }: DiskCall): void {
    const file = this.files.get(path);
    if (op === 'mkdir') this.folders.add(path);
    else if (op === 'create' && file === undefined) {
      this.files.set(path, { data: Buffer.alloc(0), durable: Buffer.alloc(0) });
    } else if (op === 'write' && file !== undefined) {
      const grown = Buffer.alloc(Math.max(file.data.length, offset + data.length));
      file.data.copy(grown);
      data.copy(grown, offset);
      file.data = grown;
    } else if (op === 'sync' && file !== undefined) file.durable = file.data;
    else if (op === 'unlink') this.files.delete(path);
    else if (op === 'rename' && to !== null) this.#rename(path, to);
  }

  #rename(from: string, to: string): void {
    const moved = (path: string): string | null =>
      path === from || path.startsWith(`${from}/`) ? to + path.slice(from.length) : null;
    for (const [path, file] of [...this.files]) {
      const place = moved(path);
      if (place === null) continue;
      this.files.delete(path);
      this.files.set(place, file);
    }
    for (const path of [...this.folders]) {
      const place = moved(path);
      if (place === null) continue;
      this.folders.delete(path);
      this.folders.add(place);
    }
  }

  /**
   * Puts it into a folder.
   *
   * @param kept all: every write reached the disk; synced: only what was synced, the rest of the
   *   file's length is zero
   */
  materialise(folder: string, kept: 'all' | 'synced'): void {
    for (const path of [...this.folders].sort()) mkdirSync(join(folder, path), { recursive: true });
    for (const [path, file] of this.files) {
      const data = Buffer.alloc(file.data.length);
      (kept === 'all' ? file.data : file.durable).copy(data);
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), data);
    }
  }
}
