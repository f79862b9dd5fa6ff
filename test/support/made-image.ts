// SPDX-License-Identifier: Apache-2.0
// Whole images of a client that never was: gpu-0 by the native writer, the rest by commit.ts, as a
// dump does it.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  commitImage,
  createPart,
  createPartial,
  type WithoutFiles,
} from '../../src/image/commit.ts';
import { noDemands, type Trust } from '../../src/image/keys.ts';
import { type ManifestKeys, noKeys } from '../../src/image/manifest.ts';
import { parentsOf, planParent } from '../../src/image/parents.ts';
import type { JobFile } from '../../src/model/image-manifest.ts';
import { imageTool, type ToolSettings } from './image-tool.ts';

/** Of the snapshots that image_tool makes up. */
const CLIENT_ID = '0'.repeat(32);
const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };

export const job: JobFile = {
  stdio: 'pipes',
  argv: ['./steps'],
  cwd: '/tmp',
  uid: 0,
  gid: 0,
  groups: [],
  library: null,
};

const device = {
  driver: 'sim',
  ordinal: 0,
  name: 'made up',
  uuid: CLIENT_ID,
  driverVersion: 13000,
  computeMajor: 8,
  computeMinor: 0,
  totalBytes: '1',
} as const;

/** A manifest of one client, without what the commit adds. */
export function manifestOf(facts: Partial<WithoutFiles> = {}): WithoutFiles {
  return {
    schema: 'phos-image',
    version: 2,
    phosVersion: '0.1.0',
    created: '2026-01-02T03:04:05.000Z',
    chain: '00112233445566778899aabbccddeeff',
    depth: 0,
    clients: [
      {
        clientId: CLIENT_ID,
        pid: 42,
        command: 'steps',
        directory: 'gpu-0',
        cut: '4096',
        device,
        deviceBytes: '1',
        objects: 1,
        chunks: 1,
        environment: {},
      },
    ],
    cpu: { criuVersion: '4.1.1', rootPid: 42, bytes: '5', openFiles: [] },
    parents: [],
    ...facts,
  };
}

export interface MadeImage {
  readonly parent?: string;
  readonly created?: string;
  readonly keys?: ManifestKeys;
  readonly tool?: ToolSettings;
}

/** Writes an image and returns its folder. */
export async function makeImage(directory: string, options: MadeImage = {}): Promise<string> {
  const keys = options.keys ?? noKeys;
  const trust: Trust = { ...noDemands, key: keys.key };
  const partial = await createPartial(directory, owner);
  const plan = options.parent === undefined ? null : await planParent(options.parent, trust);
  const folder = await createPart(partial, 'gpu-0', owner);
  const from = plan?.folderOf(CLIENT_ID);
  await imageTool('write', folder, {
    bytes: 8 << 20,
    ...(from === undefined || from === null ? {} : { parent: from }),
    ...(keys.key === null ? {} : { key: keys.key.toString('hex') }),
    ...(keys.signKey === null ? {} : { content: 1 }),
    ...options.tool,
  });
  mkdirSync(join(partial, 'cpu'));
  writeFileSync(join(partial, 'cpu', 'core.img'), 'core of it');
  await commitImage({
    directory,
    manifest: manifestOf({
      ...(options.created === undefined ? {} : { created: options.created }),
      ...(plan === null ? {} : { chain: plan.chain, depth: plan.depth }),
      parents: await parentsOf(partial, ['gpu-0'], keys.key),
    }),
    job,
    signal: new AbortController().signal,
    onProgress: () => undefined,
    keys,
  });
  return directory;
}
