#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Packs what phos needs to run on a GPU machine that has neither Node nor a network: the Node
// binary, dist/, the production packages, and the native build. One file, build-gpu/phos.tar.xz, at
// most PACK_LIMIT_BYTES; unpack it anywhere and start bin/phos.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const PACK_LIMIT_BYTES = 60 * 1024 * 1024;
const COMPRESS_DEADLINE_MS = 600_000;
const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const folder = join(root, 'build-gpu');
const stage = join(folder, 'phos');
const buildFolder = join(root, process.env['PHOS_BUILD_DIR'] ?? 'build');

/** What of the tree travels; a missing one ends the pack, since it would fail far away. */
const NATIVE_PARTS = ['lib', 'addon', 'bin', 'criu', 'examples/steps', 'bench', 'test/subjects'];
/** Workloads and suites, which need nothing but Python and Node. */
const SOURCES = ['scripts/gpu', 'bench/gpu', 'test/gpu'];
const NATIVE_FILES = [
  'addon/phos.node',
  'bin/phos-keeper',
  'lib/client/libcuda.so.1',
  'lib/sim/libcuda.so.1',
];
/** Packages that only a build needs. */
const BUILD_ONLY = new Set(['node-addon-api', 'node-api-headers']);

function say(text) {
  process.stderr.write(`pack: ${text}\n`);
}

function need(path, cure) {
  if (!existsSync(path)) throw new Error(`${relative(root, path)} is missing; run ${cure} first`);
}

function copyPackages() {
  const listed = execFileSync('npm', ['ls', '--omit=dev', '--all', '--parseable'], {
    cwd: root,
    encoding: 'utf8',
    timeout: 60_000,
  });
  for (const path of listed.split('\n').filter((line) => line.includes('node_modules'))) {
    const name = relative(join(root, 'node_modules'), path);
    if (!BUILD_ONLY.has(name)) cpSync(path, join(stage, 'node_modules', name), { recursive: true });
  }
}

function copyTree() {
  rmSync(stage, { recursive: true, force: true });
  mkdirSync(join(stage, 'bin'), { recursive: true });
  need(join(root, 'dist'), '`npm run build`');
  cpSync(join(root, 'dist'), join(stage, 'dist'), { recursive: true });
  cpSync(join(root, 'package.json'), join(stage, 'package.json'));
  for (const part of NATIVE_PARTS) {
    need(join(buildFolder, part), '`npm run test:native`');
    cpSync(join(buildFolder, part), join(stage, 'build', part), {
      recursive: true,
      verbatimSymlinks: true,
      filter: (path) => !path.includes('CMake') && !path.endsWith('.cmake'),
    });
  }
  copyPackages();
  for (const part of SOURCES) cpSync(join(root, part), join(stage, part), { recursive: true });
  const head = execFileSync('git', ['rev-parse', '--short=12', 'HEAD'], {
    cwd: root,
    timeout: 60_000,
  });
  writeFileSync(join(stage, 'commit.txt'), head);
  cpSync(process.execPath, join(stage, 'bin/node'));
  const launcher =
    '#!/bin/sh\nhere=$(dirname "$(readlink -f "$0")")\n' +
    'exec "$here/node" "$here/../dist/src/cli/main.js" "$@"\n';
  writeFileSync(join(stage, 'bin/phos'), launcher, { mode: 0o755 });
}

/** What only a person or a debugger reads stays at home. */
function slim() {
  const natives = NATIVE_FILES.map((path) => join(stage, 'build', path));
  execFileSync('strip', ['--strip-debug', ...natives], { timeout: 60_000 });
  execFileSync('find', [
    join(stage, 'node_modules'),
    '-regextype',
    'posix-extended',
    '-regex',
    '.*\\.(map|md|d\\.[cm]?ts)',
    '-delete',
  ]);
}

function compress() {
  const target = join(folder, 'phos.tar.xz');
  execFileSync('tar', ['-C', folder, '-cf', `${target}.tar`, 'phos'], {
    timeout: COMPRESS_DEADLINE_MS,
  });
  execFileSync('xz', ['-T0', '-6', '-f', `${target}.tar`], { timeout: COMPRESS_DEADLINE_MS });
  execFileSync('mv', [`${target}.tar.xz`, target]);
  return statSync(target).size;
}

copyTree();
slim();
say('compressing');
const sizeBytes = compress();
say(`build-gpu/phos.tar.xz: ${(sizeBytes / 2 ** 20).toFixed(1)} MiB`);
if (sizeBytes > PACK_LIMIT_BYTES) {
  say(`that is more than ${PACK_LIMIT_BYTES / 2 ** 20} MiB, which a GPU machine takes in one go`);
  process.exitCode = 1;
}
