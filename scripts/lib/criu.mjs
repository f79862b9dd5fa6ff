// SPDX-License-Identifier: Apache-2.0
// Brings CRIU to build/bin/criu.
//
// Debian 12 carries CRIU 3.17, which cannot dump on current kernels, so the packages of Debian 13
// are unpacked into a folder of their own, with their libc, and started through that folder's
// dynamic loader. Nothing is installed: apt runs with a private configuration, package lists and
// dpkg status, and its only source is the machine's own Debian source with the suite changed.
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const SUITE = 'trixie';
const MINIMUM = [4, 1];
const APT_DEADLINE_MS = 300_000;
const CURE =
  'Install CRIU 4.1 or newer by hand and name it in PHOS_CRIU ' +
  '(suspend and resume work without it).';

/** Version of a CRIU binary as [major, minor], or null when it does not run. */
export async function criuVersion(path) {
  try {
    const { stdout } = await run(path, ['--version'], { timeout: 10_000 });
    const found = /Version:\s*(\d+)\.(\d+)/.exec(stdout);
    return found ? [Number(found[1]), Number(found[2])] : null;
  } catch {
    // Not there, not executable, or not CRIU: all mean "look elsewhere".
    return null;
  }
}

function newEnough(version) {
  if (version === null) return false;
  return version[0] > MINIMUM[0] || (version[0] === MINIMUM[0] && version[1] >= MINIMUM[1]);
}

async function readableFiles(folder, suffix) {
  try {
    const names = await readdir(folder);
    return names.filter((name) => name.endsWith(suffix)).map((name) => join(folder, name));
  } catch (error) {
    if (error.code === 'ENOENT') return [];
    throw error;
  }
}

/** The paragraphs of a deb822 file as field maps; comments dropped, keys in lower case. */
function parseDeb822(text) {
  const clean = text.replace(/^#.*\n?/gm, '');
  return clean.split(/\n\s*\n/).map((paragraph) => {
    const fields = new Map();
    let last = '';
    for (const line of paragraph.split('\n')) {
      const field = /^([A-Za-z-]+):\s*(.*)$/.exec(line);
      if (field) {
        last = field[1].toLowerCase();
        fields.set(last, field[2].trim());
      } else if (/^\s/.test(line) && last) {
        fields.set(last, `${fields.get(last)}\n${line}`);
      }
    }
    return fields;
  });
}

function deb822Source(text, codename) {
  for (const fields of parseDeb822(text)) {
    const has = (key, word) => (fields.get(key) ?? '').split(/\s+/).includes(word);
    if (has('types', 'deb') && has('suites', codename) && has('components', 'main')) {
      const signed = fields.get('signed-by');
      return [
        'Types: deb',
        `URIs: ${fields.get('uris')}`,
        `Suites: ${SUITE}`,
        'Components: main',
        ...(signed ? [`Signed-By: ${signed}`] : []),
        '',
      ].join('\n');
    }
  }
  return null;
}

function oneLineSource(text, codename) {
  for (const line of text.split('\n')) {
    const entry = /^\s*deb\s+(\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.*)$/.exec(line);
    if (entry && entry[3] === codename && entry[4].split(/\s+/).includes('main')) {
      return `deb ${entry[1] ?? ''}${entry[2]} ${SUITE} main\n`;
    }
  }
  return null;
}

/** The machine's Debian source with another suite: {name, text}. Exported for its test. */
export async function deriveSource(etc = '/etc/apt', osRelease = '/etc/os-release') {
  const codename = /^VERSION_CODENAME=(\S+)/m.exec(await readFile(osRelease, 'utf8'))?.[1] ?? '';
  for (const path of await readableFiles(join(etc, 'sources.list.d'), '.sources')) {
    const text = deb822Source(await readFile(path, 'utf8'), codename);
    if (text) return { name: 'phos.sources', text };
  }
  const lists = [
    join(etc, 'sources.list'),
    ...(await readableFiles(join(etc, 'sources.list.d'), '.list')),
  ];
  for (const path of lists) {
    const text = oneLineSource(await readFile(path, 'utf8').catch(() => ''), codename);
    if (text) return { name: 'phos.list', text };
  }
  throw new Error(`no Debian source for "${codename}" found under ${etc}. ${CURE}`);
}

async function privateApt(work) {
  const source = await deriveSource();
  for (const folder of ['state/lists/partial', 'cache/archives/partial']) {
    await mkdir(join(work, folder), { recursive: true });
  }
  await writeFile(join(work, 'status'), '');
  await writeFile(join(work, source.name), source.text);
  const settings = [
    `Dir::Etc::sourcelist "${join(work, source.name)}";`,
    'Dir::Etc::sourceparts "/dev/null";',
    'Dir::Etc::preferences "/dev/null";',
    'Dir::Etc::preferencesparts "/dev/null";',
    `Dir::State "${join(work, 'state')}";`,
    `Dir::State::status "${join(work, 'status')}";`,
    `Dir::Cache "${join(work, 'cache')}";`,
    'APT::Install-Recommends "false";',
    // The folder is private to this user; apt's own sandbox user could not write there.
    ...(process.getuid?.() === 0 ? ['APT::Sandbox::User "root";'] : []),
    // Hooks of the machine (clean-up of its own cache, indexers) are not for this private run.
    '#clear APT::Update::Pre-Invoke;',
    '#clear APT::Update::Post-Invoke;',
    '#clear APT::Update::Post-Invoke-Success;',
    '',
  ];
  const config = join(work, 'apt.conf');
  await writeFile(config, settings.join('\n'));
  return (...args) =>
    run('apt-get', ['-c', config, '-q', '-y', ...args], {
      timeout: APT_DEADLINE_MS,
      maxBuffer: 16 << 20,
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' },
    });
}

async function firstMatch(patterns, folder) {
  for (const pattern of patterns) {
    for (const name of await walk(folder)) if (pattern.test(name)) return name;
  }
  throw new Error(`the unpacked CRIU packages lack ${patterns[0]}. ${CURE}`);
}

async function walk(folder, prefix = '') {
  const found = [];
  for (const entry of await readdir(join(folder, prefix), { withFileTypes: true })) {
    const name = join(prefix, entry.name);
    if (entry.isDirectory()) found.push(...(await walk(folder, name)));
    else found.push(name);
  }
  return found;
}

async function writeWrapper(root, target) {
  const tree = join(target, 'root');
  const loader = await firstMatch([/(^|\/)ld-linux[^/]*\.so\.\d$/], tree);
  const libc = await firstMatch([/(^|\/)libc\.so\.6$/], tree);
  const program = await firstMatch([/(^|\/)s?bin\/criu$/], tree);
  const wrapper = join(root, 'build/bin/criu');
  await mkdir(join(root, 'build/bin'), { recursive: true });
  const lines = [
    '#!/bin/sh',
    '# Written by scripts/lib/criu.mjs: starts the private CRIU with its own libraries.',
    'here=$(dirname "$(readlink -f "$0")")/../criu/root',
    `exec "$here/${loader}" --library-path "$here/${libc.slice(0, libc.lastIndexOf('/'))}" \\`,
    `  "$here/${program}" "$@"`,
    '',
  ];
  await writeFile(`${wrapper}.new`, lines.join('\n'));
  await chmod(`${wrapper}.new`, 0o755);
  await rename(`${wrapper}.new`, wrapper);
  return wrapper;
}

/**
 * Makes sure that a CRIU >= 4.1 is at hand: PHOS_CRIU, build/bin/criu, the PATH, else unpacked.
 * `root` is the project's folder, `log` takes lines of progress. Returns {path, version}; throws an
 * Error whose message holds the cause and the cure (setup goes on without CRIU and says so).
 */
export async function ensureCriu(root, log = () => {}) {
  const wrapper = resolve(root, 'build/bin/criu');
  for (const path of [process.env.PHOS_CRIU, wrapper, 'criu', '/usr/sbin/criu']) {
    if (!path) continue;
    const version = await criuVersion(path);
    if (newEnough(version)) return { path, version };
    if (version) log(`${path} is CRIU ${version.join('.')}, older than ${MINIMUM.join('.')}`);
  }
  log('CRIU: unpacking it from the packages of Debian 13 into build/criu');
  await mkdir(resolve(root, 'build'), { recursive: true });
  const work = await mkdtemp(resolve(root, 'build/criu-setup-'));
  try {
    const apt = await privateApt(work);
    await apt('update');
    await apt('install', '--download-only', 'criu');
    const archives = join(work, 'cache/archives');
    const tree = join(work, 'root');
    for (const path of await readableFiles(archives, '.deb')) {
      await run('dpkg-deb', ['-x', path, tree], { timeout: APT_DEADLINE_MS });
    }
    const target = resolve(root, 'build/criu');
    await rm(target, { recursive: true, force: true });
    await mkdir(target, { recursive: true });
    await rename(tree, join(target, 'root'));
    const path = await writeWrapper(resolve(root), target);
    const version = await criuVersion(path);
    if (!newEnough(version)) throw new Error(`the unpacked CRIU does not run. ${CURE}`);
    return { path, version };
  } catch (error) {
    const tail = String(error.stderr ?? '')
      .trim()
      .split('\n')
      .slice(-3)
      .join(' ');
    const cause = tail ? `${error.message.split('\n')[0]}: ${tail}` : error.message;
    const cure = cause.includes(CURE) ? '' : ` ${CURE}`;
    throw new Error(`CRIU could not be unpacked: ${cause}.${cure}`, { cause: error });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
