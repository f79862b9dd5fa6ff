// SPDX-License-Identifier: Apache-2.0
// What two runs of one program computed, compared. A workload prints one JSON object as its last
// line; `exact` must agree bit for bit, unless two runs without phos do not agree with each other.
// Then every number must lie within their spread.

/** How many times the distance of two native runs a run under phos may lie away from them. */
const SPREADS = 4;
/** Where two native runs happen to agree on a number of an indeterminate workload. */
const FLOOR = 1e-6;

/** The JSON object in the last line of an output; null when there is none. */
export function resultOf(stdout) {
  const last = stdout.trimEnd().split('\n').at(-1) ?? '';
  try {
    const value = JSON.parse(last);
    return typeof value === 'object' ? value : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

export function same(a, b) {
  return JSON.stringify(a) === JSON.stringify(b);
}

/**
 * @param {number[]} first numbers of a run without phos
 * @param {number[]} second those of another
 * @param {number[]} under those of a run under phos
 * @returns {string | null} what lies outside; null when nothing does
 */
export function outsideSpread(first, second, under) {
  if (first.length !== second.length || first.length !== under.length) {
    return `${under.length} numbers under phos, ${first.length} and ${second.length} without`;
  }
  for (const [index, value] of under.entries()) {
    const a = first[index];
    const b = second[index];
    const room = SPREADS * Math.abs(a - b) + FLOOR * Math.max(1, Math.abs(a), Math.abs(b));
    const distance = Math.min(Math.abs(value - a), Math.abs(value - b));
    if (!(distance <= room)) return `number ${index}: ${value} under phos, ${a} and ${b} without`;
  }
  return null;
}
