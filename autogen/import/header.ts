// SPDX-License-Identifier: Apache-2.0
/** Reads cuda.h and cudaTypedefs.h into what the notation states, so the two can be compared. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type CFunctionType, type CHeader, parseHeader } from './parse.ts';
import { type Macro, preprocess } from './preprocess.ts';

export interface AbiVersion {
  readonly since: number;
  readonly perThread: boolean;
  readonly symbol: string;
  readonly type: CFunctionType;
}

export interface DriverHeader {
  readonly cudaVersion: number;
  readonly header: CHeader;
  /** Base name -> ABI versions, legacy before per-thread, oldest first. */
  readonly versions: ReadonlyMap<string, readonly AbiVersion[]>;
  /** Base name -> the symbol that a program gets when it writes the name. */
  readonly sourceSymbols: ReadonlyMap<string, string>;
  readonly constants: ReadonlyMap<string, string>;
}

const COMMON = { __LP64__: '1', __cplusplus: '201703L', CUDAAPI: '', CUDA_CB: '' };
const INTERNAL = {
  ...COMMON,
  __CUDA_API_VERSION_INTERNAL: '1',
  __CUDA_API_VERSION_INTERNAL_ODR: '1',
};

function sortByRank(symbols: string[]): string[] {
  const rank = (s: string): number => Number(/_v(\d+)(?:_pt[sd][sz])?$/.exec(s)?.[1] ?? 1);
  return symbols.sort((a, b) => rank(a) - rank(b));
}

function baseOf(symbol: string): string {
  return symbol.replace(/_pt[sd][sz]$/, '').replace(/_v\d+$/, '');
}

function isPerThread(symbol: string): boolean {
  return /_pt[sd][sz]$/.test(symbol);
}

/**
 * cudaTypedefs.h says which versions a base name has, cuda.h which symbols; the n-th oldest version
 * is the n-th lowest suffix. Throws where the two headers do not pair up.
 */
function pairVersions(
  functions: ReadonlyMap<string, CFunctionType>,
  typedefs: CHeader,
): Map<string, AbiVersion[]> {
  const symbols = new Map<string, string[]>();
  for (const symbol of functions.keys()) {
    const key = `${baseOf(symbol)}${isPerThread(symbol) ? '/thread' : ''}`;
    symbols.set(key, [...(symbols.get(key) ?? []), symbol]);
  }
  const wanted = new Map<string, number[]>();
  for (const name of typedefs.callbacks.keys()) {
    const match = /^PFN_(cu\w+?)_v(\d+)(_pt[sd][sz])?$/.exec(name);
    if (match === null) continue;
    const key = `${match[1] ?? ''}${match[3] === undefined ? '' : '/thread'}`;
    wanted.set(key, [...(wanted.get(key) ?? []), Number(match[2])]);
  }
  const versions = new Map<string, AbiVersion[]>();
  for (const [key, found] of symbols) {
    const since = (wanted.get(key) ?? []).sort((a, b) => a - b);
    const sorted = sortByRank(found);
    if (since.length !== sorted.length) {
      throw new Error(
        `${key}: cuda.h has the symbols ${sorted.join(', ')}, ` +
          `cudaTypedefs.h the versions ${since.join(', ')}`,
      );
    }
    const base = baseOf(sorted[0] ?? '');
    const entries = sorted.map((symbol, k) => {
      const type = functions.get(symbol);
      if (type === undefined) throw new Error(`${symbol} has no prototype`);
      return { since: since[k] ?? 0, perThread: isPerThread(symbol), symbol, type };
    });
    versions.set(base, [...(versions.get(base) ?? []), ...entries]);
  }
  for (const list of versions.values()) {
    list.sort((a, b) => Number(a.perThread) - Number(b.perThread) || a.since - b.since);
  }
  return versions;
}

function constantText(macro: Macro): string | null {
  if (macro.params !== null || macro.body.length === 0) return null;
  return macro.body.join(' ').replace(/\( /g, '(').replace(/ \)/g, ')').replace(/ \*/g, '*');
}

export function readDriverHeader(path: string): DriverHeader {
  const text = readFileSync(path, 'utf8');
  const typedefText = readFileSync(join(dirname(path), 'cudaTypedefs.h'), 'utf8');
  const plain = preprocess(text, COMMON);
  const publicHeader = parseHeader(plain.tokens);
  const header = parseHeader(preprocess(text, INTERNAL).tokens);
  const functions = new Map([...publicHeader.functions, ...header.functions]);
  const typedefs = [COMMON, INTERNAL, { ...COMMON, CUDA_API_PER_THREAD_DEFAULT_STREAM: '1' }].map(
    (defines) => parseHeader(preprocess(typedefText, defines).tokens),
  );
  const callbacks = new Map(typedefs.flatMap((t) => [...t.callbacks]));
  const versions = pairVersions(functions, { ...header, callbacks });
  const sourceSymbols = new Map<string, string>();
  const constants = new Map<string, string>();
  for (const [name, macro] of plain.macros) {
    const body = constantText(macro);
    if (/^cu[A-Z]/.test(name)) {
      const symbol = macro.body.at(-1) === ')' ? macro.body.at(-2) : macro.body[0];
      if (symbol !== undefined && functions.has(symbol)) sourceSymbols.set(name, symbol);
    } else if (body !== null && name.startsWith('CU') && name !== 'CUDAAPI' && name !== 'CUDA_CB') {
      constants.set(name, body);
    }
  }
  const version = Number(constants.get('CUDA_VERSION') ?? '0');
  return {
    cudaVersion: version,
    header: { ...header, functions },
    versions,
    sourceSymbols,
    constants,
  };
}

/** Headers beside cuda.h whose functions cuGetProcAddress of phos answers with NOT_FOUND. */
const REFUSED = ['GL', 'EGL', 'VDPAU', 'Profiler'] as const;

export interface RefusedNames {
  readonly header: string;
  readonly names: readonly string[];
}

/** Base names of the graphics and profiler headers; an empty list where a header is absent. */
export function readRefusedNames(path: string): RefusedNames[] {
  return REFUSED.map((header) => {
    const file = join(dirname(path), `cuda${header}Typedefs.h`);
    if (!existsSync(file)) return { header, names: [] };
    const { callbacks } = parseHeader(preprocess(readFileSync(file, 'utf8'), INTERNAL).tokens);
    const names = [...callbacks.keys()]
      .map((name) => /^PFN_(cu\w+?)_v\d+/.exec(name)?.[1])
      .filter((name) => name !== undefined);
    return { header, names: [...new Set(names)] };
  });
}
