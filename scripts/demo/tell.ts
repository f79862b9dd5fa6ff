// SPDX-License-Identifier: Apache-2.0
// How the demo speaks: numbered headings, the command as one would type it, and what came of it.

let number = 0;

export function heading(text: string): void {
  number += 1;
  process.stdout.write(`\n[${number}] ${text}\n`);
}

export function command(text: string): void {
  process.stdout.write(`    $ ${text}\n`);
}

export function line(text: string): void {
  process.stdout.write(`    ${text}\n`);
}

export function mib(bytes: bigint | number): string {
  return `${(Number(bytes) / 2 ** 20).toFixed(1)} MiB`;
}

export function seconds(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

/** Bytes and time as a rate; nothing when there is no time to divide by. */
export function rate(bytes: bigint | number, ms: number): string {
  return ms > 0 ? `${((Number(bytes) / 2 ** 20 / ms) * 1000).toFixed(0)} MiB/s` : 'at once';
}
