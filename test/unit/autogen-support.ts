// SPDX-License-Identifier: Apache-2.0
/** A driver API of three functions, as notation and as headers, for tests of the generator. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { type Notation, parseNotation } from '../../autogen/load.ts';
import { topicFileSchema, typeFileSchema } from '../../autogen/schema.ts';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const NOTATION = join(ROOT, 'autogen', 'notation');

export const SMALL_TOPIC = `
topic: small
title: A small API
functions:
  - name: cuBoxCreate
    id: 0x001
    class: sync
    semantics: create
    client: generated
    executor: generated
    params:
      - {name: box, type: "CUstream *", dir: out, handle: stream}
      - {name: label, type: "const char *", size: string}
      - {name: size, type: size_t}
      - {name: kind, type: CUkind}
    versions:
      - since: 2000
        symbol: cuBoxCreate
        params:
          - "CUstream *box"
          - "const char *label"
          - unsigned int size
      - {since: 3020, symbol: cuBoxCreate_v2}
  - name: cuBoxQuery
    id: 0x002
    class: sync
    semantics: query
    client: generated
    executor: generated
    params:
      - {name: box, type: CUstream, handle: stream, nullable: true}
      - {name: count, type: unsigned int}
      - {name: state, type: "unsigned char *", dir: out}
      - {name: shape, type: "CUshape *", dir: out}
      - {name: items, type: "unsigned short *", dir: out, size: count}
    versions:
      - {since: 2000, symbol: cuBoxQuery}
      - {since: 7000, symbol: cuBoxQuery_ptsz, flags: ptsz}
  - name: cuBoxNothing
    id: 0x003
    class: sync
    semantics: query
    client: unsupported
    executor: none
    params: []
    versions:
      - {since: 11000, symbol: cuBoxNothing}
`;

const SMALL_TYPES = `
constants:
  CUDA_VERSION: 13000
  CU_BOX_MAX: 0x10
opaque:
  CUstream: CUstream_st
aliases:
  CUshape: CUshape_v1
enums:
  CUkind:
    tag: CUkind_enum
    values: {CU_KIND_A: 0, CU_KIND_B: 4}
  CUresult:
    tag: cudaError_enum
    values: {CUDA_SUCCESS: 0}
records:
  CUshape_v1:
    tag: CUshape_st
    fields:
      - unsigned char corner
      - size_t sides[2]
      - union: ""
        name: extra
        fields:
          - float ratio
          - CUkind kind
`;

const CUDA_H = `
#ifndef small_h
#define small_h
#if defined(__CUDA_API_VERSION_INTERNAL) || defined(CUDA_API_PER_THREAD_DEFAULT_STREAM)
  #define __CUDA_API_PTSZ(api) api ## _ptsz
#else
  #define __CUDA_API_PTSZ(api) api
#endif
#define cuBoxCreate cuBoxCreate_v2
#if defined(CUDA_API_PER_THREAD_DEFAULT_STREAM) || defined(__CUDA_API_VERSION_INTERNAL)
  #define cuBoxQuery __CUDA_API_PTSZ(cuBoxQuery)
#endif
#define CUDA_VERSION 13000
#define CU_BOX_MAX 16 /**< most boxes */
typedef struct CUstream_st *CUstream; // a box
typedef enum CUkind_enum { CU_KIND_A, CU_KIND_B = 1 << 2, } CUkind;
typedef enum cudaError_enum { CUDA_SUCCESS = 0 } CUresult;
typedef struct CUshape_st {
  unsigned char corner;
  size_t sides[CU_BOX_MAX / 8];
  union { float ratio; CUkind kind; } extra;
} CUshape_v1;
typedef CUshape_v1 CUshape;
CUresult CUDAAPI cuBoxCreate(CUstream *box, const char *label, size_t size, CUkind kind);
CUresult CUDAAPI cuBoxQuery(CUstream box, unsigned count, unsigned char *state,
                            CUshape *shape, unsigned short *items);
CUresult CUDAAPI cuBoxNothing(void);
#if defined(__CUDA_API_VERSION_INTERNAL)
  #undef cuBoxCreate
  #undef cuBoxQuery
  CUresult CUDAAPI cuBoxCreate(CUstream *box, const char *label, unsigned int size);
  CUresult CUDAAPI cuBoxQuery(CUstream box, unsigned int count, unsigned char *state,
                              CUshape *shape, unsigned short *items);
#endif
#endif
`.replace('CU_BOX_MAX / 8', '2');

const TYPEDEFS = `
typedef CUresult (CUDAAPI *PFN_cuBoxCreate_v3020)(CUstream *box, const char *l, size_t s, CUkind k);
typedef CUresult (CUDAAPI *PFN_cuBoxQuery_v2000)(CUstream box, unsigned int n);
typedef CUresult (CUDAAPI *PFN_cuBoxQuery_v7000_ptsz)(CUstream box, unsigned int n);
typedef CUresult (CUDAAPI *PFN_cuBoxNothing_v11000)(void);
#if defined(__CUDA_API_VERSION_INTERNAL)
typedef CUresult (CUDAAPI *PFN_cuBoxCreate_v2000)(CUstream *box, const char *l, unsigned int s);
#endif
`;

/** A folder with the two headers, gone when the test ends; the path of its cuda.h. */
export function smallHeader(edit: (text: string) => string = (text) => text): string {
  const folder = mkdtempSync(join(tmpdir(), 'phos-autogen-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'cudaTypedefs.h'), TYPEDEFS);
  writeFileSync(join(folder, 'cuda.h'), edit(CUDA_H));
  return join(folder, 'cuda.h');
}

export function smallNotation(
  edit: (text: string) => string = (text) => text,
  editTypes: (text: string) => string = (text) => text,
): Notation {
  const topic = parseNotation('small.yaml', edit(SMALL_TOPIC), topicFileSchema);
  return {
    functions: topic.functions.map((f) => ({ ...f, topic: topic.topic })),
    topics: [{ topic: topic.topic, title: topic.title }],
    types: parseNotation('types.yaml', editTypes(SMALL_TYPES), typeFileSchema),
    internal: [],
    exports: [],
    handles: [
      { name: 'stream', id: 12, type: 'CUstream', visibility: 'host', about: 'a box' },
      { name: 'event', id: 13, type: 'CUstream', visibility: 'host', about: 'another box' },
    ],
    sizes: [],
    errors: [],
  };
}
