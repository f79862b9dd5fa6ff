// SPDX-License-Identifier: Apache-2.0
// manifest.json: the one file that makes a folder an image. It is written last, and it names every
// other file, so that what is missing, cut short or altered is seen before anything is touched.
import { z } from 'zod';
import { limits } from './limits.ts';

export const MANIFEST_NAME = 'manifest.json';
export const JOB_NAME = 'job.json';
export const MANIFEST_VERSION = 2;
/** A temporary sibling of the image carries this ending until the commit. */
export const PARTIAL_SUFFIX = '.partial';

const count = z.number().int().nonnegative();
const bytesText = z.string().regex(/^\d{1,20}$/);
const hex32 = z.string().regex(/^[0-9a-f]{32}$/);

/** A file of the image. Data extents carry a checksum for each chunk in their index instead. */
const imageFile = z.strictObject({
  name: z.string().regex(/^(?!\/)(?!.*(^|\/)\.\.(\/|$)).+$/),
  bytes: bytesText,
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .nullable(),
});
export type ManifestFile = z.output<typeof imageFile>;

const device = z.strictObject({
  driver: z.enum(['sim', 'cuda']),
  ordinal: count,
  name: z.string(),
  uuid: z.string(),
  driverVersion: count,
  computeMajor: count,
  computeMinor: count,
  totalBytes: bytesText,
});
export type ManifestDevice = z.output<typeof device>;

const client = z.strictObject({
  clientId: hex32,
  pid: count,
  command: z.string(),
  /** Name of the folder with its objects and chunks: gpu-0, gpu-1, ... */
  directory: z.string().regex(/^gpu-\d{1,4}$/),
  cut: bytesText,
  device,
  deviceBytes: bytesText,
  objects: count,
  chunks: count,
  /** CUDA_* and PHOS_* variables that its executor needs. */
  environment: z.record(z.string(), z.string()),
});
export type ManifestClient = z.output<typeof client>;

/** A file that the tree had open for writing: restore refuses where one has grown since. */
const openFile = z.strictObject({
  pid: count,
  fd: count,
  path: z.string(),
  offset: bytesText,
  bytes: bytesText,
  append: z.boolean(),
});
export type ManifestOpenFile = z.output<typeof openFile>;

const cpu = z.strictObject({
  criuVersion: z.string(),
  rootPid: count,
  bytes: bytesText,
  openFiles: z.array(openFile),
});

/** An image that is needed, and that must be the very one that was there at the dump. */
const parent = z.strictObject({
  /** Relative to the folder that holds this image, so that both can be moved together. */
  directory: z.string().min(1).max(4096),
  /** `checksum` of its manifest. */
  checksum: z.string().regex(/^[0-9a-f]{64}$/),
});
export type ManifestParent = z.output<typeof parent>;

/** Ed25519 over the checksum; the public key alone proves nothing, a reader must trust it. */
const signature = z.strictObject({
  algorithm: z.literal('ed25519'),
  publicKey: z.string().regex(/^[0-9a-f]{64}$/),
  value: z.string().regex(/^[0-9a-f]{128}$/),
});
export type ManifestSignature = z.output<typeof signature>;

/** A manifest that only its key opens: AES-256-GCM over the members that are not here. */
export const sealedSchema = z.strictObject({
  schema: z.literal('phos-image'),
  version: z.literal(MANIFEST_VERSION),
  sealed: z.strictObject({
    salt: hex32,
    keyCheck: z.string().regex(/^[0-9a-f]{16}$/),
    tag: hex32,
    data: z.base64(),
  }),
  checksum: z.string().regex(/^[0-9a-f]{64}$/),
  signature: signature.optional(),
});

export const manifestSchema = z.strictObject({
  schema: z.literal('phos-image'),
  version: z.literal(MANIFEST_VERSION),
  phosVersion: z.string(),
  created: z.iso.datetime(),
  clients: z.array(client),
  /** Null: a pre-dump. It has no processes, so nothing can be restored from it alone. */
  cpu: cpu.nullable(),
  files: z.array(imageFile),
  /** The same in every image that was begun from one by --parent. */
  chain: hex32,
  /** How many images of the chain came before that it may need; 0: it was not given a parent. */
  depth: count.max(limits.maxChainDepth),
  /** Images in which chunks of this one lie. Empty: it stands alone. */
  parents: z.array(parent),
  /** SHA-256 of this file's JSON, without spaces, this member and the signature. */
  checksum: z.string().regex(/^[0-9a-f]{64}$/),
  signature: signature.optional(),
});
export type ImageManifest = z.output<typeof manifestSchema>;
export type ManifestCpu = z.output<typeof cpu>;

/** What is read first, whatever the version: enough to refuse the unknown by name. */
export const manifestHead = z.object({ schema: z.string(), version: z.number() });

/** job.json: what restore needs to bring the job back. */
export const jobSchema = z.strictObject({
  /** 'none': the program was not started by phos run; cpu/process.json tells the rest. */
  stdio: z.enum(['pipes', 'pty', 'none']),
  argv: z.array(z.string()),
  cwd: z.string(),
  uid: count,
  gid: count,
  groups: z.array(count),
  /** Folder and content hash of the client library that the program has mapped; lib/ has it. */
  library: z.strictObject({ path: z.string(), hash: z.string() }).nullable(),
});
export type JobFile = z.output<typeof jobSchema>;
