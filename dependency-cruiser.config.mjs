// SPDX-License-Identifier: Apache-2.0
// Who may import whom. Each folder of src/ lists what it may use; anything else is an error.
// ARCHITECTURE.md has the same table in words.

/** Folder of src/ to the folders it may import from, besides itself. */
export const layers = {
  gen: [],
  errors: ['gen'],
  model: ['errors', 'gen'],
  machines: ['model', 'errors'],
  verify: ['machines', 'model', 'errors'],
  native: ['errors', 'model', 'gen'],
  ring: ['model', 'gen', 'errors'],
  executor: ['native', 'model', 'errors', 'ring', 'gen'],
  host: ['native', 'model', 'errors'],
  image: ['native', 'model', 'errors', 'gen'],
  control: ['gen', 'model', 'errors'],
  actors: ['machines', 'host', 'image', 'native', 'model', 'errors', 'executor'],
  phosd: [
    'actors',
    'machines',
    'host',
    'image',
    'native',
    'model',
    'errors',
    'control',
    'executor',
    'gen',
  ],
  // host: a foreground command is its program's terminal (keeper socket) even while phosd is away,
  // and doctor looks at what this machine offers.
  cli: ['control', 'host', 'image', 'model', 'errors', 'gen'],
};

const layerRules = Object.entries(layers).map(([folder, allowed]) => ({
  name: `layer-${folder}`,
  comment: `src/${folder} may import ${allowed.join(', ') || 'nothing of ours'}`,
  severity: 'error',
  from: { path: `^src/${folder}/` },
  to: {
    path: '^(src|autogen|test|bench|scripts)/',
    pathNot: `^src/(${[folder, ...allowed].join('|')})/`,
  },
}));

const builtin = '^(node:)?[a-z_/]+$';

export default {
  forbidden: [
    ...layerRules,
    {
      name: 'unknown-folder',
      comment: 'a new folder of src/ needs a line in the table of layers',
      severity: 'error',
      from: { path: `^src/(?!(${Object.keys(layers).join('|')})/)` },
      to: {},
    },
    {
      name: 'pure',
      comment: 'machines and the model do nothing by themselves: no Node, no effects',
      severity: 'error',
      from: { path: '^src/(machines|verify)/' },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'machines-packages',
      comment: 'a machine needs XState and nothing else',
      severity: 'error',
      from: { path: '^src/machines/' },
      to: { path: 'node_modules/', pathNot: 'node_modules/xstate/' },
    },
    {
      name: 'xstate-at-home',
      comment:
        'statecharts live in machines, what binds them in actors, what checks them in verify',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(machines|actors|verify|phosd)/' },
      to: { path: 'node_modules/xstate/' },
    },
    {
      name: 'product-from-tests',
      comment: 'what is shipped never imports tests, benchmarks or scripts',
      severity: 'error',
      from: { path: '^(src|autogen)/' },
      to: { path: '^(test|bench|scripts)/' },
    },
    {
      name: 'generator-alone',
      comment: 'the generator writes the product and is not part of it',
      severity: 'error',
      from: { path: '^autogen/' },
      to: { path: '^src/', pathNot: '^src/errors/' },
    },
    {
      name: 'no-circular',
      comment: 'two modules that need each other are one module',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'resolvable',
      comment: 'every import leads to a file',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true, pathNot: builtin },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(dist|build[^/]*|coverage)/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node'] },
  },
};
