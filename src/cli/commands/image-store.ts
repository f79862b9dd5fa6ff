// SPDX-License-Identifier: Apache-2.0
// image ls, diff, gc and compact: several images, and folders that hold them.
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { PhosError } from '../../errors/phos-error.ts';
import { compactImage } from '../../image/compact.ts';
import { type ClientDiff, diffImages } from '../../image/diff.ts';
import { readSignKey } from '../../image/keys.ts';
import { listImages, planGc, removeImage, type StoredImage } from '../../image/store.ts';
import { action } from '../context.ts';
import { bytes, duration, rate, table } from '../format.ts';
import type { Output } from '../output.ts';
import { Progress } from '../progress.ts';
import { addTrustOptions, type TrustOptions, trustOf } from '../trust-options.ts';

export function addStoreCommands(image: Command): void {
  action(
    addTrustOptions(
      image
        .command('ls')
        .description('list the images in a folder, oldest first')
        .argument('[folder]', 'folder that holds images', '.'),
    ),
    list,
  );
  action(
    addTrustOptions(
      image
        .command('diff')
        .description('tell what changed between two images of a program')
        .argument('<first>', 'an image')
        .argument('<second>', 'another'),
    ),
    diff,
  );
  action(
    addTrustOptions(
      image
        .command('gc')
        .description('remove images that are older than what is to stay and that nothing needs')
        .argument('<folder>', 'folder that holds images')
        .requiredOption('--keep <n>', 'how many of the newest images of every chain stay')
        .option('--dry-run', 'only tell what would go', false),
    ),
    gc,
  );
  action(
    addTrustOptions(
      image
        .command('compact')
        .description('write a copy of an image that needs no other image')
        .argument('<folder>', 'the image')
        .requiredOption('--dir <folder>', 'the copy: a folder that is not there yet, or empty')
        .option('--compress <level>', 'zstd level of the chunks, 1 to 19', '0')
        .option('--sign-key <file>', 'Ed25519 private key (PEM) that signs the copy')
        .option('-q, --quiet', 'no progress', false),
    ),
    compact,
  );
}

async function list(output: Output, options: TrustOptions, folder: string): Promise<void> {
  const directory = resolve(folder);
  const { images, others, partials } = await listImages(directory, trustOf(options));
  const rows = images.map((one) => [
    one.name,
    one.manifest.created,
    one.manifest.clients.map((client) => client.command).join(', '),
    bytes(one.deviceBytes),
    bytes(one.bytes),
    String(one.manifest.depth),
    one.problem ?? 'ok',
  ]);
  const heads = ['NAME', 'CREATED', 'COMMAND', 'MEMORY', 'ON DISK', 'DEPTH', 'STATE'];
  output.result(
    { directory, images: images.map(factsOf), others, partials },
    [
      table(heads, rows),
      ...others.map((one) => `${one.name} cannot be read: ${one.problem}`),
      ...partials.map((one) => `${one}: a dump under way, or the rest of one (phos clean)`),
    ].join('\n'),
  );
}

function factsOf(image: StoredImage) {
  const { manifest, name, directory, bytes: onDisk, deviceBytes, parents, problem } = image;
  const { created, chain, depth, checksum } = manifest;
  const signedBy = manifest.signature?.publicKey ?? null;
  const sizes = { bytes: onDisk, deviceBytes };
  return { name, directory, created, chain, depth, checksum, signedBy, ...sizes, parents, problem };
}

async function diff(
  output: Output,
  options: TrustOptions,
  first: string,
  second: string,
): Promise<void> {
  const clients = await diffImages(resolve(first), resolve(second), trustOf(options));
  output.result(
    {
      clients: clients.map((one) => ({
        ...one,
        objects: one.objects.map((object) => ({
          ...object,
          handle: `0x${object.handle.toString(16)}`,
        })),
      })),
    },
    clients.map(diffText).join('\n'),
  );
}

function diffText(one: ClientDiff): string {
  const where = one.in === 'both' ? '' : ` (only in the ${one.in})`;
  const kinds = ['same', 'changed', 'added', 'removed'] as const;
  return [
    `client ${one.clientId}${where}`,
    table(
      ['MEMORY', 'CHUNKS', 'BYTES'],
      kinds.map((kind) => [kind, String(one[kind].chunks), bytes(one[kind].bytes)]),
    ),
    ...one.objects.map(
      (object) => `${object.change} 0x${object.handle.toString(16)} (${object.createdBy})`,
    ),
  ].join('\n');
}

interface GcOptions extends TrustOptions {
  readonly keep: string;
  readonly dryRun: boolean;
}

async function gc(output: Output, options: GcOptions, folder: string): Promise<void> {
  const keepEach = Number(options.keep);
  if (!Number.isInteger(keepEach) || keepEach < 1) {
    throw new PhosError('USAGE', `--keep ${options.keep}: give a number of images, 1 or more`);
  }
  const plan = await planGc(resolve(folder), keepEach, trustOf(options));
  if (!options.dryRun) for (const image of plan.remove) await removeImage(image.directory);
  const freed = plan.remove.reduce((sum, image) => sum + image.bytes, 0n);
  const word = options.dryRun ? 'would remove' : 'removed';
  output.result(
    {
      keep: plan.keep.map((image) => image.name),
      needed: plan.needed.map((image) => image.name),
      removed: plan.remove.map((image) => image.name),
      freedBytes: freed,
      dryRun: options.dryRun,
    },
    [
      ...plan.remove.map((image) => `${word} ${image.name} (${bytes(image.bytes)})`),
      ...plan.needed.map((image) => `${image.name} stays: images that stay need it`),
      `${plan.remove.length} images, ${bytes(freed)}`,
    ].join('\n'),
  );
}

interface CompactOptions extends TrustOptions {
  readonly dir: string;
  readonly compress: string;
  readonly signKey?: string;
  readonly quiet: boolean;
}

async function compact(output: Output, options: CompactOptions, folder: string): Promise<void> {
  const level = Number(options.compress);
  if (!Number.isInteger(level) || level < 0 || level > 19) {
    throw new PhosError('USAGE', `--compress ${options.compress}: levels go from 1 to 19`);
  }
  const target = resolve(options.dir);
  const progress = new Progress(options.quiet);
  const begun = performance.now();
  progress.stage('compact');
  const written = await compactImage(resolve(folder), target, {
    trust: trustOf(options),
    signKey: options.signKey === undefined ? null : readSignKey(options.signKey),
    compress: level,
    onProgress: (done, total) => progress.progress('compact', done, total),
  }).finally(() => progress.stage(null));
  const ms = performance.now() - begun;
  output.result(
    { directory: target, bytes: written, ms },
    `${target} stands alone: ${bytes(written)} in ${duration(ms)} (${rate(written, ms)})`,
  );
}
