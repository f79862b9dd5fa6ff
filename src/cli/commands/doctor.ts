// SPDX-License-Identifier: Apache-2.0
// doctor: everything that phos needs of this machine, each line with its fix. Works without phosd.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { PhosError } from '../../errors/phos-error.ts';
import type { Device } from '../../gen/proto/phos/v1/control_pb.ts';
import { cgroup2Mounts } from '../../host/cgroup.ts';
import { checkMayCheckpoint, findCriu } from '../../host/criu.ts';
import { nativeUrl } from '../../model/locate.ts';
import { longestSocketPath, runtimePaths } from '../../model/runtime-dir.ts';
import { MAX_SOCKET_PATH_BYTES } from '../../model/limits.ts';
import { action, ASK_MS, client, folders } from '../context.ts';
import { table } from '../format.ts';
import type { Output } from '../output.ts';

interface Finding {
  readonly name: string;
  /** 'fail': nothing runs. 'warn': something that is named does not. */
  readonly verdict: 'ok' | 'warn' | 'fail';
  readonly found: string;
  /** Null when there is nothing to mend. */
  readonly fix: string | null;
}

export function addDoctorCommand(program: Command): void {
  action(
    program.command('doctor').description('check what phos needs of this machine, with fixes'),
    doctor,
  );
}

async function doctor(output: Output): Promise<number> {
  const findings = [
    node(),
    built('addon', 'addon/phos.node'),
    built('client library', 'lib/client/libcuda.so.1'),
    built('keeper', 'bin/phos-keeper'),
    socketPaths(),
    ...(await daemon()),
    await criu(),
    rights(),
    cgroups(),
  ];
  const bad = findings.filter((one) => one.verdict === 'fail').length;
  output.result(
    { ok: bad === 0, findings },
    table(
      ['CHECK', 'VERDICT', 'FOUND'],
      findings.map((one) => [
        one.name,
        one.verdict,
        one.fix === null ? one.found : `${one.found}. To mend it: ${one.fix}`,
      ]),
    ),
  );
  return bad === 0 ? 0 : 9;
}

function node(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const fits = major > 20 || (major === 20 && minor >= 19);
  return {
    name: 'node',
    verdict: fits ? 'ok' : 'fail',
    found: process.versions.node,
    fix: fits ? null : 'install Node 20.19 or newer',
  };
}

function built(name: string, file: string): Finding {
  const path = fileURLToPath(nativeUrl(file, process.env['PHOS_BUILD_DIR'] ?? null));
  return existsSync(path)
    ? { name, verdict: 'ok', found: path, fix: null }
    : { name, verdict: 'fail', found: `${path} is missing`, fix: 'run npm run setup' };
}

function socketPaths(): Finding {
  const { runtimeDir } = folders();
  const longest = Buffer.byteLength(longestSocketPath(runtimePaths(runtimeDir)));
  const fits = longest <= MAX_SOCKET_PATH_BYTES;
  return {
    name: 'runtime folder',
    verdict: fits ? 'ok' : 'fail',
    found: runtimeDir,
    fix: fits ? null : 'set PHOS_RUNTIME_DIR to a shorter path',
  };
}

/** phosd, and each of its devices. */
async function daemon(): Promise<Finding[]> {
  try {
    const { pid, version, state, devices } = await client().status({}, { timeoutMs: ASK_MS });
    const found = `${version}, process ${pid}, ${state}`;
    return [{ name: 'phosd', verdict: 'ok', found, fix: null }, ...devices.map(device)];
  } catch (thrown) {
    return [trouble('phosd', thrown, 'run phos start')];
  }
}

function device(one: Device): Finding {
  const name = `device ${one.ordinal}`;
  if (one.failure === '') {
    const what = one.name === '' ? one.state : one.name;
    return { name, verdict: 'ok', found: `${one.driver}: ${what}`, fix: null };
  }
  return {
    name,
    verdict: 'fail',
    found: `${one.driver}: ${one.failure}`,
    fix:
      one.driver === 'cuda'
        ? 'phos stop; mend the NVIDIA driver, or use --driver sim; phos start'
        : 'look at the log of phosd; phos stop and phos start try again',
  };
}

async function criu(): Promise<Finding> {
  try {
    const { path, version } = await findCriu();
    return { name: 'criu', verdict: 'ok', found: `${version} at ${path}`, fix: null };
  } catch (thrown) {
    return trouble('criu', thrown, 'run npm run setup; without it, suspend and resume work');
  }
}

function rights(): Finding {
  try {
    checkMayCheckpoint();
    return { name: 'rights', verdict: 'ok', found: 'may dump and restore', fix: null };
  } catch (thrown) {
    return trouble('rights', thrown, 'run phosd as root; without it, suspend and resume work');
  }
}

function cgroups(): Finding {
  const [mount] = cgroup2Mounts();
  return mount === undefined
    ? {
        name: 'cgroup2',
        verdict: 'warn',
        found: 'not mounted',
        fix: 'mount -t cgroup2 none /sys/fs/cgroup; without it, suspend and resume work',
      }
    : { name: 'cgroup2', verdict: 'ok', found: mount, fix: null };
}

function trouble(name: string, thrown: unknown, fix: string): Finding {
  // What is found, without its cure: the fix says that.
  const found = PhosError.from(thrown, name).message.split(';')[0] ?? '';
  return { name, verdict: 'warn', found, fix };
}
