// SPDX-License-Identifier: Apache-2.0
/** docs/api-coverage.md: what each function of the driver API is today. */
import type { Ir, IrCall } from '../ir.ts';
import { generated, type OutputFile } from './output.ts';

const isSupported = (call: IrCall): boolean => call.client !== 'unsupported';

function count(calls: readonly IrCall[], test: (call: IrCall) => boolean): number {
  return calls.filter(test).length;
}

function summary(calls: readonly IrCall[]): string[] {
  const classes = ['local', 'async', 'sync', 'may-block'] as const;
  return [
    '| | functions |',
    '|---|---|',
    `| in cuda.h 13.0 | ${calls.length} |`,
    `| exported symbols (every ABI version) | ${calls.flatMap((c) => c.versions).length} |`,
    `| implemented | ${count(calls, isSupported)} |`,
    ...classes.map(
      (k) => `| of these ${k} | ${count(calls, (c) => isSupported(c) && c.class === k)} |`,
    ),
    `| client side generated | ${count(calls, (c) => c.client === 'generated')} |`,
    `| executor side generated | ${count(calls, (c) => c.executor === 'generated')} |`,
    `| answer CUDA_ERROR_NOT_SUPPORTED | ${count(calls, (c) => !isSupported(c))} |`,
  ];
}

function row(call: IrCall): string {
  const old = call.versions
    .filter((v) => !v.isNewestAbi && v.adapt === null && v.client !== 'custom')
    .map((v) => v.symbol);
  const note = isSupported(call) && old.length > 0 ? `not supported as ${old.join(', ')}` : '';
  return isSupported(call)
    ? `| ${call.name} | ${call.class} | ${call.client} | ${call.executor} | ${note} |`
    : `| ${call.name} | | unsupported | | |`;
}

export function emitCoverage(ir: Ir): readonly OutputFile[] {
  const topics = ir.notation.topics.flatMap(({ topic, title }) => {
    const calls = ir.driverCalls.filter((c) => c.topic === topic);
    return [
      '',
      `## ${title} (${count(calls, isSupported)} of ${calls.length})`,
      '',
      '| function | class | client | executor | |',
      '|---|---|---|---|---|',
      ...calls.map(row),
    ];
  });
  return [
    generated('docs/api-coverage.md', '', [
      '',
      '# Driver API coverage',
      '',
      'Every function of cuda.h 13.0 is exported by the client library. `local` is answered in',
      'the client, `async` is sent without waiting, `sync` waits for the executor, `may-block`',
      'waits for a helper thread of the executor. `none` in the executor column: the call itself',
      'does not travel; the client answers it or sends commands of phos in its place. A function',
      'that is not implemented answers CUDA_ERROR_NOT_SUPPORTED, and its name is reported once for',
      'each client.',
      '',
      ...summary(ir.driverCalls),
      ...topics,
    ]),
  ];
}
