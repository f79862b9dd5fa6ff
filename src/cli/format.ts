// SPDX-License-Identifier: Apache-2.0
// Numbers and tables for people.

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** "64.0 MiB" */
export function bytes(count: bigint | number): string {
  let value = Number(count);
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(1)} ${units[unit]}`;
}

/** "1.3 GiB/s"; '' when nothing was moved or no time went by. */
export function rate(count: bigint | number, ms: number): string {
  return Number(count) === 0 || ms <= 0 ? '' : `${bytes((Number(count) / ms) * 1000)}/s`;
}

/** "431 us", "23.1 ms", "4.20 s" */
export function duration(ms: number): string {
  if (ms < 1) return `${Math.round(ms * 1000)} us`;
  if (ms < 1000) return `${ms.toFixed(1)} ms`;
  return ms < 120_000 ? `${(ms / 1000).toFixed(2)} s` : `${(ms / 60_000).toFixed(1)} min`;
}

/** Rows under their headings, columns as wide as they must be. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => (row[column] ?? '').length)),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return [headings, ...rows].map(line).join('\n');
}
