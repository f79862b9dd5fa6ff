// SPDX-License-Identifier: Apache-2.0
// Reading manifest.json and job.json. The version is looked at before anything else; an unknown
// one is refused by name. Then the checksum, then the shape.
import { createHash } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { PhosError } from '../errors/phos-error.ts';
import {
  type ImageManifest,
  JOB_NAME,
  type JobFile,
  jobSchema,
  MANIFEST_NAME,
  MANIFEST_VERSION,
  manifestHead,
  manifestSchema,
} from '../model/image-manifest.ts';
import { storageError } from './files.ts';

export type ManifestBody = Omit<ImageManifest, 'checksum'>;

function checksumOf(body: object): string {
  return createHash('sha256').update(JSON.stringify(body)).digest('hex');
}

/** The text of manifest.json, checksum included. */
export function encodeManifest(body: ManifestBody): string {
  return `${JSON.stringify({ ...body, checksum: checksumOf(body) }, null, 2)}\n`;
}

/**
 * Reads the manifest of an image.
 *
 * @throws PhosError NOT_FOUND when there is no such folder, IMAGE_INVALID when it is no image or
 *   its manifest is damaged, UNSUPPORTED for another version, PERMISSION
 */
export async function readManifest(directory: string): Promise<ImageManifest> {
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
  const { checksum, ...body } = raw as { checksum?: unknown } & object;
  if (checksum !== checksumOf(body)) {
    throw invalid(directory, `its ${MANIFEST_NAME} was altered: the checksum does not match`);
  }
  const manifest = manifestSchema.safeParse(raw);
  if (!manifest.success) {
    throw invalid(directory, `its ${MANIFEST_NAME} is malformed: ${manifest.error.message}`);
  }
  return manifest.data;
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
