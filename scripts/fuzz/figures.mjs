// SPDX-License-Identifier: Apache-2.0
// What a fuzz target said of itself: libFuzzer's last line of progress and its final figures, or
// the lines of native/fuzz/standalone.cc.

/**
 * @param {string} output of one run, or the end of it
 * @returns {{ executions: number, coverage: number, corpus: number, line: string }}
 */
export function readFigures(output) {
  const executions = /stat::number_of_executed_units:\s+(\d+)/.exec(output);
  const progress = [...output.matchAll(/cov: (\d+) ft: \d+ corp: (\d+)/g)].at(-1);
  const blind = /fuzz: (\d+) changed inputs/.exec(output);
  const lines = output.split('\n').filter((line) => line.startsWith('fuzz: '));
  return {
    executions: Number(executions?.[1] ?? blind?.[1] ?? 0),
    coverage: Number(progress?.[1] ?? 0),
    corpus: Number(progress?.[2] ?? 0),
    line: lines.map((line) => line.slice('fuzz: '.length)).join('; '),
  };
}
