// SPDX-License-Identifier: Apache-2.0
// The patterns of native/test/ptx/vectors/patterns.txt, and the instructions they stand for.

import { readFileSync } from 'node:fs';
import { packageRoot } from '../../src/model/locate.ts';

export const vectors = new URL('native/test/ptx/vectors/', packageRoot);

/** By family, so that a report can say where something is missing. */
export function readPatterns(): Map<string, string[]> {
  const families = new Map<string, string[]>();
  let family: string[] = [];
  for (const line of readFileSync(new URL('patterns.txt', vectors), 'utf8').split('\n')) {
    const name = /^# (\w+)$/.exec(line)?.[1];
    if (name !== undefined) {
      family = [];
      families.set(name, family);
    } else if (line !== '' && !line.startsWith('#')) family.push(line);
  }
  return families;
}

const prefixes: Readonly<Record<string, string>> = {
  '1': '%b',
  '2': '%h',
  '4': '%r',
  '8': '%d',
  '16': '%q',
  p: '%p',
};

function registerOf(type: string, counters: Map<string, number>): string {
  const size =
    type === 'pred'
      ? 'p'
      : /^(u8|s8|b8)$/.test(type)
        ? '2'
        : /x4$|x2$/.test(type) && type !== 'f32x2'
          ? '4'
          : type === 'f32x2'
            ? '8'
            : type.endsWith('128')
              ? '16'
              : type.endsWith('64')
                ? '8'
                : type.endsWith('16')
                  ? '2'
                  : '4';
  const next = counters.get(size) ?? 0;
  counters.set(size, next + 1);
  return `${prefixes[size] ?? '%r'}${next}`;
}

/** All instructions that a pattern stands for, with registers, without the semicolon. */
export function expand(pattern: string): string[] {
  const choice = /\[((?:[^[\]|]*\|)+[^[\]|]*)\]/.exec(pattern);
  if (choice !== null) {
    const [all, inner = ''] = choice;
    // `[||@pred]` is nothing, or a bar and a predicate.
    const options =
      inner.startsWith('|') && inner.split('|').length === 3 && inner[1] === '|'
        ? ['', inner.slice(1)]
        : inner.split('|');
    return options.flatMap((one) =>
      expand(pattern.slice(0, choice.index) + one + pattern.slice(choice.index + all.length)),
    );
  }
  const type = /<(\w):([\w,]+)>/.exec(pattern);
  if (type !== null) {
    const [all, name = '', list = ''] = type;
    return list
      .split(',')
      .flatMap((one) =>
        expand(pattern.replace(all, one).replaceAll(new RegExp(`@${name}\\b`, 'g'), `@${one}`)),
      );
  }
  const counters = new Map<string, number>();
  return [pattern.replaceAll(/@(\w+)/g, (_, one: string) => registerOf(one, counters))];
}

/** A kernel around instructions, one to a line; the first is on line `firstLine`. */
export const firstLine = 18;
export function moduleOf(instructions: readonly string[]): string {
  return [
    '.version 9.0',
    '.target sm_86',
    '.address_size 64',
    '.global .align 16 .b8 gl[64];',
    '.const .align 16 .b8 ct[64];',
    '.visible .entry k(.param .align 16 .b8 par[64])',
    '{',
    '.reg .pred %p<8>;',
    '.reg .b16 %h<16>;',
    '.reg .b32 %r<48>;',
    '.reg .b64 %d<16>;',
    '.reg .b128 %q<8>;',
    '.reg .b8 %b<8>;',
    '.shared .align 16 .b8 sh[64];',
    '.local .align 16 .b8 loc[64];',
    'L:',
    'mov.u32 %r0, 0;',
    ...instructions.map((one) => `${one};`),
    '}',
    '',
  ].join('\n');
}
