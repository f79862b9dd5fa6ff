// SPDX-License-Identifier: Apache-2.0
// Reading and writing manifest.json, and reading job.json. The version is looked at before anything
// else; an unknown one is refused by name. Then the checksum, the signature, the seal, the shape.
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { PhosError } from '../errors/phos-error.ts';
import {
  type ImageManifest,
  JOB_NAME,
  type JobFile,
  type ManifestCpu,
  jobSchema,
  MANIFEST_NAME,
  MANIFEST_VERSION,
  manifestHead,
  manifestSchema,
  sealedSchema,
} from '../model/image-manifest.ts';
import { storageError } from './files.ts';
import { checkSignature, noDemands, signManifest, type Trust } from './keys.ts';

export type ManifestBody = Omit<ImageManifest, 'checksum' | 'signature'>;

export interface ManifestKeys {
  /** 32 bytes: the manifest can only be read with it. */
  readonly key: Buffer | null;
  /** Ed25519. */
  readonly signKey: KeyObject | null;
}
export const noKeys: ManifestKeys = { key: null, signKey: null };

/** A key for one manifest: the salt is random, so the nonce can be the same for all. */
function sealFor(key: Buffer, salt: Buffer): { readonly key: Buffer; readonly check: string } {
  const derive = (info: string, bytes: number): Buffer =>
    Buffer.from(hkdfSync('sha256', key, salt, info, bytes));
  return {
    key: derive('phos image v2 manifest', 32),
    check: derive('phos image v2 check', 8).toString('hex'),
  };
}
const NONCE = Buffer.alloc(12);

function checksumOf(body: object): string {
  return createHash('sha256').update(JSON.stringify(body)).digest('hex');
}

/** The text of manifest.json: sealed when there is a key, with checksum, signed when asked. */
export function encodeManifest(body: ManifestBody, keys: ManifestKeys = noKeys): string {
  const outer = keys.key === null ? body : sealed(body, keys.key);
  const checksum = checksumOf(outer);
  const signature =
    keys.signKey === null ? {} : { signature: signManifest(checksum, keys.signKey) };
  return `${JSON.stringify({ ...outer, checksum, ...signature }, null, 2)}\n`;
}

function sealed({ schema, version, ...rest }: ManifestBody, key: Buffer): object {
  const salt = randomBytes(16);
  const seal = sealFor(key, salt);
  const cipher = createCipheriv('aes-256-gcm', seal.key, NONCE);
  const data = Buffer.concat([cipher.update(JSON.stringify(rest)), cipher.final()]);
  return {
    schema,
    version,
    sealed: {
      salt: salt.toString('hex'),
      keyCheck: seal.check,
      tag: cipher.getAuthTag().toString('hex'),
      data: data.toString('base64'),
    },
  };
}

/**
 * Reads the manifest of an image.
 *
 * @throws PhosError NOT_FOUND when there is no such folder, IMAGE_INVALID when it is no image or
 *   its manifest is damaged, UNSUPPORTED for another version, PERMISSION when the file cannot be
 *   read, the key is missing or wrong, or a signature is demanded that is not there
 */
export async function readManifest(
  directory: string,
  trust: Trust = noDemands,
): Promise<ImageManifest> {
  const raw = parse(await readText(directory, MANIFEST_NAME), `${directory}/${MANIFEST_NAME}`);
  const head = manifestHead.safeParse(raw);
  if (!head.success || head.data.schema !== 'phos-image') {
    throw invalid(directory, `its ${MANIFEST_NAME} is not that of a phos image`);
  }
  if (head.data.version !== MANIFEST_VERSION) {
    throw new PhosError(
      'UNSUPPORTED',
      `the image ${directory} has version ${head.data.version}, this phos reads version ` +
        `${MANIFEST_VERSION}; use the phos that wrote it`,
      { details: { directory, version: head.data.version } },
    );
  }
  const { checksum, signature: _, ...body } = raw as Record<string, unknown>;
  if (checksum !== checksumOf(body)) {
    throw invalid(directory, `its ${MANIFEST_NAME} was altered: the checksum does not match`);
  }
  const plain = 'sealed' in body ? unseal(directory, raw, trust.key) : raw;
  const manifest = manifestSchema.safeParse(plain);
  if (!manifest.success) {
    throw invalid(directory, `its ${MANIFEST_NAME} is malformed: ${manifest.error.message}`);
  }
  checkSignature(directory, manifest.data.checksum, manifest.data.signature ?? null, trust);
  return manifest.data;
}

function unseal(directory: string, raw: unknown, key: Buffer | null): unknown {
  const outer = sealedSchema.safeParse(raw);
  if (!outer.success) {
    throw invalid(directory, `its ${MANIFEST_NAME} is malformed: ${outer.error.message}`);
  }
  const { sealed: box, ...rest } = outer.data;
  const details = { directory };
  if (key === null) {
    const message = `the image ${directory} is encrypted; give its key with --key-file`;
    throw new PhosError('PERMISSION', message, { details });
  }
  const seal = sealFor(key, Buffer.from(box.salt, 'hex'));
  if (seal.check !== box.keyCheck) {
    const message = `the image ${directory} is encrypted with another key; give the right one`;
    throw new PhosError('PERMISSION', message, { details });
  }
  const cipher = createDecipheriv('aes-256-gcm', seal.key, NONCE, { authTagLength: 16 });
  cipher.setAuthTag(Buffer.from(box.tag, 'hex'));
  try {
    const parts = [cipher.update(Buffer.from(box.data, 'base64')), cipher.final()];
    return { ...rest, ...(JSON.parse(Buffer.concat(parts).toString('utf8')) as object) };
  } catch {
    throw invalid(directory, `its ${MANIFEST_NAME} was altered: decryption fails`);
  }
}

/** The CPU side of an image. @throws PhosError IMAGE_INVALID for a pre-dump, which has none */
export function requireCpu(directory: string, manifest: ImageManifest): ManifestCpu {
  if (manifest.cpu !== null) return manifest.cpu;
  throw new PhosError(
    'IMAGE_INVALID',
    `${directory} is a pre-dump: it holds device memory only and cannot be restored alone; ` +
      'make a dump with --prev of it, and restore that',
    { details: { directory } },
  );
}

/** What restore needs to bring the job back. @throws PhosError IMAGE_INVALID */
export async function readJob(directory: string): Promise<JobFile> {
  const raw = parse(await readText(directory, JOB_NAME), `${directory}/${JOB_NAME}`);
  const job = jobSchema.safeParse(raw);
  if (!job.success) throw invalid(directory, `its ${JOB_NAME} is malformed: ${job.error.message}`);
  return job.data;
}

export function invalid(directory: string, why: string): PhosError {
  return new PhosError(
    'IMAGE_INVALID',
    `the image ${directory} cannot be used: ${why}; take it from a backup or dump again`,
    { details: { directory } },
  );
}

async function readText(directory: string, name: string): Promise<string> {
  try {
    return await readFile(join(directory, name), 'utf8');
  } catch (thrown) {
    if ((thrown as { code?: unknown }).code !== 'ENOENT') {
      throw storageError(thrown, `reading ${name} of the image ${directory}`);
    }
    // A folder without a manifest is a dump that was not committed, or something else.
    try {
      await readdir(directory);
    } catch (missing) {
      throw storageError(missing, `opening the image ${directory}`);
    }
    throw invalid(directory, `it has no ${name}`);
  }
}

function parse(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new PhosError('IMAGE_INVALID', `${path} is cut short or damaged; dump again`, { cause });
  }
}
