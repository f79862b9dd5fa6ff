// SPDX-License-Identifier: Apache-2.0
// `objects` and `blobs` of a gpu-K folder: what a client held on the device, without the bytes of
// its memory.
import { CALLS } from '../gen/call-ids.ts';
import { Cursor } from './cursor.ts';
import { type FileHeader, readBody } from './gpu-files.ts';
import { xxh3 } from './xxh3.ts';

export interface SavedCommand {
  /** Name of the call in the driver API. */
  readonly call: string;
  readonly context: bigint;
  /** Of a change: its place among creations; else 0. */
  readonly order: bigint;
  readonly payload: Buffer;
}

export interface SavedObject {
  /** Number of the handle type (autogen/notation/handles.yaml). */
  readonly type: number;
  readonly live: boolean;
  readonly handle: bigint;
  readonly creation: bigint;
  readonly value: bigint;
  readonly state: bigint;
  /** Hash of its code image; null for what has none. */
  readonly image: string | null;
  readonly parents: readonly bigint[];
  readonly create: SavedCommand;
  readonly mutations: readonly SavedCommand[];
  /** What a captured graph was captured from. */
  readonly recipe: readonly SavedCommand[];
}

/** One step of the order in which the driver was made to place what device code sees. */
export interface SavedPlacement {
  readonly order: bigint;
  readonly kind: 'use' | 'variable' | 'unload' | 'change';
  /** Of a change: what changed the context. */
  readonly command: SavedCommand | null;
  readonly handle: bigint;
  /** Creation of the module or library. */
  readonly owner: bigint;
  readonly name: string;
}

export interface GpuObjects {
  readonly header: FileHeader;
  readonly clientId: string;
  readonly cut: bigint;
  readonly windowBase: bigint;
  readonly driver: string;
  readonly deviceName: string;
  readonly driverVersion: number;
  readonly computeMajor: number;
  readonly computeMinor: number;
  readonly deviceTotalBytes: bigint;
  readonly allocations: readonly { readonly address: bigint; readonly bytes: bigint }[];
  readonly objects: readonly SavedObject[];
  readonly placements: readonly SavedPlacement[];
  readonly variables: readonly SavedVariable[];
}

export interface SavedVariable {
  readonly address: bigint;
  readonly bytes: bigint;
  readonly module: bigint;
  readonly name: string;
}

const NO_HASH = '0'.repeat(32);
const LEAST_COMMAND_BYTES = 26;
const LEAST_OBJECT_BYTES = 100;
const LEAST_PLACEMENT_BYTES = 34;
const placementKinds = [null, 'use', 'variable', 'unload', 'change'] as const;
/** Numbers of handle types (autogen/notation/handles.yaml). */
const codeTypes: readonly number[] = [3, 4];
const functionTypes: readonly number[] = [5, 6];
const GRAPH_TYPE = 14;
const calls = new Map(CALLS.map(({ id, name }) => [id, name]));

/** @throws PhosError IMAGE_INVALID naming file and offset, UNSUPPORTED, PERMISSION, STORAGE */
export async function readGpuObjects(directory: string, key: Buffer | null): Promise<GpuObjects> {
  const { header, path, data } = await readBody(directory, 'objects', key);
  const cursor = new Cursor(data, path, 0);
  const clientId = cursor.hex(16);
  const cut = cursor.u64();
  const windowBase = cursor.u64();
  const driver = cursor.text();
  const deviceName = cursor.text();
  const driverVersion = cursor.i32();
  const computeMajor = cursor.i32();
  const computeMinor = cursor.i32();
  const deviceTotalBytes = cursor.u64();
  const allocations = list(cursor, 16, () => ({ address: cursor.u64(), bytes: cursor.u64() }));
  const objects = list(cursor, LEAST_OBJECT_BYTES, () => readObject(cursor));
  if (header.count !== BigInt(objects.length)) {
    throw cursor.invalid('the number of objects does not fit');
  }
  const placements = list(cursor, LEAST_PLACEMENT_BYTES, () => readPlacement(cursor));
  const variables = list(cursor, 32, () => ({
    address: cursor.u64(),
    bytes: cursor.u64(),
    module: cursor.u64(),
    name: cursor.text(),
  }));
  cursor.end();
  const device = { driver, deviceName, driverVersion, computeMajor, computeMinor };
  const facts = { header, clientId, cut, windowBase, ...device, deviceTotalBytes };
  return { ...facts, allocations, objects, placements, variables };
}

function list<T>(cursor: Cursor, least: number, read: () => T): T[] {
  return Array.from({ length: cursor.count(least) }, read);
}

function readObject(cursor: Cursor): SavedObject {
  const type = cursor.u8();
  const live = cursor.u8();
  const handle = cursor.u64();
  if (live > 1 || ((handle >> 32n) & 0xffn) !== BigInt(type)) {
    throw cursor.invalid('an object with a malformed handle');
  }
  const creation = cursor.u64();
  const value = cursor.u64();
  const state = cursor.u64();
  const image = cursor.hex(16);
  const parents = list(cursor, 8, () => cursor.u64());
  const create = readCommand(cursor);
  const mutations = list(cursor, LEAST_COMMAND_BYTES, () => readCommand(cursor));
  const recipe = list(cursor, LEAST_COMMAND_BYTES, () => readCommand(cursor));
  const facts = { type, live: live === 1, handle, creation, value, state };
  const commands = { create, mutations, recipe };
  return { ...facts, image: image === NO_HASH ? null : image, parents, ...commands };
}

function readCommand(cursor: Cursor): SavedCommand {
  const call = calls.get(cursor.u16());
  if (call === undefined) throw cursor.invalid('a command of an unknown call');
  return { call, context: cursor.u64(), order: cursor.u64(), payload: cursor.bytes() };
}

function readPlacement(cursor: Cursor): SavedPlacement {
  const order = cursor.u64();
  const kind = placementKinds[cursor.u8()] ?? null;
  if (kind === null) throw cursor.invalid('a placement of an unknown kind');
  if (kind === 'change') {
    return { order, kind, command: readCommand(cursor), handle: 0n, owner: 0n, name: '' };
  }
  const type = cursor.u8();
  const handle = cursor.u64();
  const owner = cursor.u64();
  const name = cursor.text();
  const isGraph = kind === 'unload' && type === GRAPH_TYPE;
  const fits = kind === 'use' ? functionTypes.includes(type) : codeTypes.includes(type) || isGraph;
  if (!fits || ((handle >> 32n) & 0xffn) !== BigInt(type)) {
    throw cursor.invalid('a placement of an object that is never placed');
  }
  return { order, kind, command: null, handle, owner, name };
}

/** Code images by their hash. @throws PhosError as readGpuObjects */
export async function readBlobs(
  directory: string,
  key: Buffer | null,
): Promise<{ readonly header: FileHeader; readonly blobs: ReadonlyMap<string, Buffer> }> {
  const { header, path, data } = await readBody(directory, 'blobs', key);
  const cursor = new Cursor(data, path, 0);
  const blobs = new Map<string, Buffer>();
  for (let i = 0n; i < header.count; i += 1n) {
    const hash = cursor.hex(16);
    const bytes = cursor.bytes();
    if (xxh3(bytes) !== hash) throw cursor.invalid('a code image does not match its hash');
    blobs.set(hash, bytes);
  }
  cursor.end();
  return { header, blobs };
}
