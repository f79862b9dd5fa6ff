// SPDX-License-Identifier: Apache-2.0
// What phosd itself puts into an image: the manifest's facts, job.json, and a copy of the client
// library that the program has mapped.
import { randomBytes } from 'node:crypto';
import { cp, mkdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { MethodResult } from '../executor/protocol.ts';
import type { FrozenDump } from '../host/cpu-checkpoint.ts';
import { readProc } from '../host/proc.ts';
import type { WithoutFiles } from '../image/commit.ts';
import { storageError } from '../image/files.ts';
import { type ParentPlan, parentsOf } from '../image/parents.ts';
import type { Cuts } from '../machines/dump-parts.ts';
import type { KeeperRecord } from '../model/domain.ts';
import {
  type JobFile,
  MANIFEST_VERSION,
  type ManifestClient,
  type ManifestCpu,
  type ManifestDevice,
} from '../model/image-manifest.ts';
import { deadlines } from '../model/limits.ts';
import { onAll } from './effects.ts';
import type { SavedClient } from './gpu-save.ts';
import type { JobClients } from './job-clients.ts';
import { mappedLibrary } from './mapped-library.ts';

export interface ImageParts {
  readonly partial: string;
  readonly phosVersion: string;
  readonly clients: JobClients;
  readonly cuts: Cuts;
  readonly saved: readonly SavedClient[];
  /** Null: a pre-dump. */
  readonly frozen: FrozenDump | null;
  readonly rootPid: number;
  /** The image that this one is written on. */
  readonly parent: ParentPlan | null;
  readonly run: KeeperRecord | null;
  readonly owner: { readonly uid: number; readonly gid: number };
}

/** Writes lib/ and tells the rest; commit.ts writes job.json and the manifest. */
export async function writeImageParts(
  parts: ImageParts,
): Promise<{ readonly manifest: WithoutFiles; readonly job: JobFile }> {
  const clients = await onAll(parts.clients.members, (_, index) => clientOf(parts, index));
  const { frozen, rootPid } = parts;
  const library = frozen === null ? null : mappedLibrary(frozen.tree.map((row) => row.pid));
  if (library !== null) await copyLibrary(library, join(parts.partial, 'lib'));
  return {
    manifest: {
      schema: 'phos-image',
      version: MANIFEST_VERSION,
      phosVersion: parts.phosVersion,
      created: new Date().toISOString(),
      clients,
      cpu: frozen === null ? null : cpuOf(frozen),
      chain: parts.parent?.chain ?? randomBytes(16).toString('hex'),
      depth: parts.parent?.depth ?? 0,
      parents: await parentsOf(
        parts.partial,
        clients.map((client) => client.directory),
        null,
      ),
    },
    job: {
      stdio: parts.run?.stdio ?? 'none',
      argv: parts.run?.argv ?? commandLine(rootPid),
      cwd: parts.run?.cwd ?? '/',
      uid: parts.run?.uid ?? parts.owner.uid,
      gid: parts.run?.gid ?? parts.owner.gid,
      groups: parts.run?.groups ?? [],
      library: library === null ? null : { path: library, hash: basename(library) },
    },
  };
}

async function copyLibrary(from: string, to: string): Promise<void> {
  try {
    await mkdir(to, { mode: 0o700 });
    // Links are kept as links: the folder is brought back as it is.
    await cp(from, to, { recursive: true, verbatimSymlinks: true });
  } catch (thrown) {
    throw storageError(thrown, `copying the client library into ${to}`);
  }
}

function cpuOf({ image, bytes }: FrozenDump): ManifestCpu {
  const { criuVersion, rootPid, openFiles } = image;
  return { criuVersion, rootPid, bytes: bytes.toString(), openFiles };
}

async function clientOf(parts: ImageParts, index: number): Promise<ManifestClient> {
  const member = parts.clients.members[index];
  const saved = parts.saved[index];
  const executor = member === undefined ? null : parts.clients.find(member);
  if (member === undefined || saved === undefined || executor === null) {
    throw new Error(`client ${index} of the tree was not saved`);
  }
  const status = await executor.request('status', {}, deadlines.executorRequestMs);
  if (status.device === null) throw new Error(`executor ${executor.id} has no device`);
  return {
    clientId: member.facts.clientId,
    pid: member.pid,
    command: member.facts.command,
    directory: `gpu-${index}`,
    cut: parts.cuts[member.facts.clientId] ?? saved.cut.toString(),
    device: deviceOf(status.device),
    deviceBytes: saved.deviceBytes.toString(),
    objects: saved.objects,
    chunks: saved.chunks,
    environment: { ...member.facts.environment },
  };
}

function deviceOf(device: NonNullable<MethodResult<'status'>['device']>): ManifestDevice {
  return { ...device, totalBytes: device.totalBytes.toString() };
}

function commandLine(pid: number): string[] {
  return (readProc(pid, 'cmdline') ?? '').split('\0').filter((part) => part !== '');
}
