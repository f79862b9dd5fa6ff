// SPDX-License-Identifier: Apache-2.0
// System packages that the native build needs. Installed when we are root; otherwise the exact
// command is named.

import { SetupError, capture, say, step } from './step.mjs';

/** What the build and the tests use; the libraries are linked statically where they travel. */
export const systemPackages = [
  'cmake',
  'ninja-build',
  'g++',
  'libgtest-dev',
  'libgmock-dev',
  'libssl-dev',
  'libxxhash-dev',
  'libzstd-dev',
];

/** What the tests use besides: python3 plays clients that break the protocol. */
export const testPackages = ['python3'];

/** What `npm run fuzz` needs: a compiler with libFuzzer and its sanitizers' runtime. */
export const fuzzPackages = ['clang-16', 'libclang-rt-16-dev'];

const environment = { DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' };

/**
 * Installs the system packages that are missing.
 *
 * @param {string[]} packages
 */
export async function aptPackages(packages) {
  const missing = await missingPackages(packages);
  if (missing.length === 0) return;
  const command = `apt-get install -y --no-install-recommends ${missing.join(' ')}`;
  if (process.getuid?.() !== 0) {
    throw new SetupError(
      `system packages are missing: ${missing.join(' ')}`,
      `run \`sudo ${command}\`, then try again`,
    );
  }
  const install = [
    'apt-get',
    '-o',
    'DPkg::Lock::Timeout=300',
    'install',
    '-y',
    '--no-install-recommends',
    ...missing,
  ];
  const cure = `run \`apt-get update && ${command}\` and read what it says`;
  // The lists may be there already and fresh enough; updating costs seconds and needs a network.
  const known = await capture(['apt-cache', 'policy', ...missing], {
    timeoutMs: 60_000,
    env: environment,
  });
  const candidates = known.stdout.match(/Candidate: (?!\(none\))/g)?.length ?? 0;
  if (candidates === missing.length) {
    say(`system packages: ${missing.join(' ')} ...`);
    const first = await capture(install, { timeoutMs: 600_000, env: environment });
    if (first.code === 0) return;
    say('system packages: the lists are old, updating them');
  }
  await step('package lists', ['apt-get', '-o', 'DPkg::Lock::Timeout=300', 'update'], {
    timeoutMs: 300_000,
    cure,
    env: environment,
  });
  await step(`system packages: ${missing.join(' ')}`, install, {
    timeoutMs: 600_000,
    cure,
    env: environment,
  });
}

async function missingPackages(packages) {
  const format = '${Package} ${db:Status-Abbrev}\n';
  const query = await capture(['dpkg-query', '-W', '-f', format, ...packages], {
    timeoutMs: 30_000,
    env: { LC_ALL: 'C' },
  });
  if (query.code === null) {
    // Not a Debian: the build itself will say what it lacks.
    say(`no dpkg here; the build needs what Debian calls ${packages.join(' ')}`);
    return [];
  }
  const installed = new Set();
  for (const line of query.stdout.split('\n')) {
    const [name, status] = line.split(' ');
    if (name !== undefined && status?.startsWith('ii') === true) installed.add(name);
  }
  return packages.filter((name) => !installed.has(name));
}
