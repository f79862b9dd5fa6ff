// SPDX-License-Identifier: Apache-2.0
// image inspect and image verify; the other verbs of image are in image-store.ts. No phosd, no GPU.
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { type ImageReport, inspectImage, verifyImage } from '../../image/verify.ts';
import type { ImageManifest } from '../../model/image-manifest.ts';
import { action } from '../context.ts';
import { bytes, duration, rate, table } from '../format.ts';
import type { Output } from '../output.ts';
import { Progress } from '../progress.ts';
import { addTrustOptions, type TrustOptions, trustOf } from '../trust-options.ts';
import { addStoreCommands } from './image-store.ts';

export function addImageCommands(program: Command): void {
  const image = program
    .command('image')
    .description('look at images; needs neither phosd nor a GPU');
  action(
    addTrustOptions(
      image
        .command('inspect')
        .description('tell what is in an image')
        .argument('<folder>', 'the image'),
    ),
    inspect,
  );
  action(
    addTrustOptions(
      image
        .command('verify')
        .description('read a whole image and check every checksum')
        .argument('<folder>', 'the image')
        .option('-q, --quiet', 'no progress', false),
    ),
    verify,
  );
  addStoreCommands(image);
}

async function inspect(output: Output, options: TrustOptions, folder: string): Promise<void> {
  const directory = resolve(folder);
  const found = await inspectImage(directory, trustOf(options));
  output.result(data(directory, found), text(directory, found));
}

async function verify(
  output: Output,
  options: TrustOptions & { readonly quiet: boolean },
  folder: string,
): Promise<void> {
  const directory = resolve(folder);
  const progress = new Progress(options.quiet);
  const begun = performance.now();
  progress.stage('verify');
  const found = await verifyImage(directory, {
    onProgress: (done, total) => progress.progress('verify', done, total),
    signal: null,
    trust: trustOf(options),
  }).finally(() => progress.stage(null));
  const ms = performance.now() - begun;
  output.result(
    { ...data(directory, found), verified: true, ms },
    `${directory} is whole: ${found.files} files, ${bytes(found.bytes)} in ${duration(ms)}` +
      ` (${rate(found.bytes, ms)})`,
  );
}

function data(directory: string, found: ImageReport) {
  const { manifest, ...rest } = found;
  const { clients, cpu, created, phosVersion, version, chain, depth, parents } = manifest;
  const signedBy = manifest.signature?.publicKey ?? null;
  const facts = { version, phosVersion, created, chain, depth, signedBy };
  return { directory, ...facts, ...rest, clients, cpu, parents };
}

function text(directory: string, found: ImageReport): string {
  const { manifest } = found;
  return [
    `${directory}: image version ${manifest.version}, written by phos ${manifest.phosVersion}`,
    `created ${manifest.created}, ${found.files} files, ${bytes(found.bytes)}`,
    cpuText(manifest),
    ...manifest.parents.map((one) => `needs ${one.directory}`),
    ...(manifest.signature === undefined ? [] : [`signed by ${manifest.signature.publicKey}`]),
    table(
      ['FOLDER', 'PID', 'COMMAND', 'DEVICE', 'MEMORY', 'OBJECTS', 'CHUNKS', 'CUT'],
      manifest.clients.map((one) => [
        one.directory,
        String(one.pid),
        one.command,
        one.device.name,
        bytes(BigInt(one.deviceBytes)),
        String(one.objects),
        String(one.chunks),
        one.cut,
      ]),
    ),
  ].join('\n');
}

function cpuText({ cpu }: ImageManifest): string {
  if (cpu === null) return 'a pre-dump: device memory only, not restorable alone';
  const { rootPid, criuVersion } = cpu;
  return `root process ${rootPid}, CPU side ${bytes(BigInt(cpu.bytes))} (CRIU ${criuVersion})`;
}
