// SPDX-License-Identifier: Apache-2.0
/** The exported symbols of libsim.so: each ABI version goes to its slot of the driver table. */
import { declare } from '../ctype.ts';
import type { Ir, IrCall, IrVersion } from '../ir.ts';
import { NotationError } from '../load.ts';
import { callLines, generated, type OutputFile } from './output.ts';

function slotArguments(call: IrCall, v: IrVersion): string[] {
  return call.params.map((p, i) => {
    const adapted = v.adapt?.[p.name];
    if (adapted !== undefined) return adapted;
    const given = v.isNewestAbi ? v.params[i] : v.params.find((q) => q.name === p.name);
    if (given === undefined)
      throw new NotationError(`${v.symbol}: adapt does not say what ${p.name} is`);
    const isStream = v.perThread && p.type === 'CUstream' && p.dir === 'in';
    return isStream ? `per_thread(${given.name})` : given.name;
  });
}

function emitEntry(call: IrCall, v: IrVersion): string[] {
  const unsupported = !v.isNewestAbi && v.adapt === null;
  const params = v.params.map((p) =>
    unsupported ? declare(p.type, `/*${p.name}*/`) : declare(p.type, p.name),
  );
  const head = callLines(`CUresult ${v.symbol}`, params, ' {');
  if (unsupported) return [...head, '  return CUDA_ERROR_NOT_SUPPORTED;', '}'];
  const mode =
    call.takesStreamMode && v.perThread ? ['  const phos::sim::PerThreadDefaultStream mode;'] : [];
  const body = callLines(`return exported().${call.name}`, slotArguments(call, v), ';', '  ');
  return [...head, ...mode, ...body, '}'];
}

export function emitSimEntries(ir: Ir): readonly OutputFile[] {
  return [
    generated(
      'native/gen/sim_entries.cc',
      'Every symbol of the driver API, each ABI version of it, in its way to the simulated device.',
      [
        '#include "drivers/sim/exports.h"',
        '#include "drivers/sim/sim.h"',
        '',
        '// The version script decides what is seen; visibility must not hide it first.',
        '#pragma GCC visibility push(default)',
        '',
        'namespace {',
        '',
        'using phos::sim::exported;',
        '',
        'CUstream per_thread(CUstream stream) noexcept {',
        '  return stream == nullptr ? CU_STREAM_PER_THREAD : stream;',
        '}',
        '',
        '}  // namespace',
        '',
        'extern "C" {',
        '',
        ...ir.driverCalls.flatMap((c) => c.versions.flatMap((v) => emitEntry(c, v))),
        '',
        '}  // extern "C"',
        '',
        '#pragma GCC visibility pop',
      ],
    ),
  ];
}
