// SPDX-License-Identifier: Apache-2.0
// Where the parts of this installation are. The same code runs from src/ (through tsx or vitest)
// and from dist/src/ (compiled), and worker files are not rewritten by either, so every path to
// a file of our own is made here. Pure: nothing is read from disk.

const compiled = import.meta.url.endsWith('.js');

/** The folder that holds package.json, as a URL that ends in a slash. */
export const packageRoot: URL = new URL(compiled ? '../../../' : '../../', import.meta.url);

/** True when the TypeScript sources run as they are, through tsx or vitest. */
export const runsFromSource: boolean = !compiled;

/**
 * A module of ours to start as a process or a worker.
 *
 * @param name path under the tree without extension, such as 'src/executor/drain-worker'
 * @returns the file to load: `.ts` beside the sources, `.js` in dist/
 */
export function moduleUrl(name: string): URL {
  return compiled ? new URL(`dist/${name}.js`, packageRoot) : new URL(`${name}.ts`, packageRoot);
}

/**
 * Arguments Node needs before a file given by moduleUrl(): tsx while running from source. By its
 * URL, because Node looks a bare name up from the working folder, and daemons run in `/`.
 */
export const moduleExecArgv: readonly string[] = compiled
  ? []
  : ['--import', new URL('node_modules/tsx/dist/loader.mjs', packageRoot).href];

/**
 * A file of the native build.
 *
 * @param name path under the build folder, such as 'addon/phos.node' or 'bin/phos-keeper'
 * @param buildDir another build folder (PHOS_BUILD_DIR), absolute; null for `build/`
 */
export function nativeUrl(name: string, buildDir: string | null): URL {
  return new URL(name, buildDir === null ? new URL('build/', packageRoot) : asFolder(buildDir));
}

function asFolder(path: string): URL {
  return new URL(`file://${path.endsWith('/') ? path : `${path}/`}`);
}
