// SPDX-License-Identifier: Apache-2.0
// image inspect and image verify: no phosd, no GPU.
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { type ImageReport, inspectImage, verifyImage } from '../../image/verify.ts';
import { action } from '../context.ts';
import { bytes, duration, rate, table } from '../format.ts';
import type { Output } from '../output.ts';
import { Progress } from '../progress.ts';

export function addImageCommands(program: Command): void {
  const image = program
    .command('image')
    .description('look at images; needs neither phosd nor a GPU');
  action(
    image
      .command('inspect')
      .description('tell what is in an image')
      .argument('<folder>', 'the image'),
    inspect,
  );
  action(
    image
      .command('verify')
      .description('read a whole image and check every checksum')
      .argument('<folder>', 'the image')
      .option('-q, --quiet', 'no progress', false),
    verify,
  );
}

async function inspect(output: Output, _: unknown, folder: string): Promise<void> {
  const directory = resolve(folder);
  const found = await inspectImage(directory);
  output.result(data(directory, found), text(directory, found));
}

async function verify(
  output: Output,
  options: { readonly quiet: boolean },
  folder: string,
): Promise<void> {
  const directory = resolve(folder);
  const progress = new Progress(options.quiet);
  const begun = performance.now();
  progress.stage('verify');
  const found = await verifyImage(directory, {
    onProgress: (done, total) => progress.progress(done, total),
    signal: null,
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
  const { clients, cpu, created, phosVersion, version, parents } = manifest;
  return { directory, version, phosVersion, created, ...rest, clients, cpu, parents };
}

function text(directory: string, found: ImageReport): string {
  const { manifest } = found;
  return [
    `${directory}: image version ${manifest.version}, written by phos ${manifest.phosVersion}`,
    `created ${manifest.created}, ${found.files} files, ${bytes(found.bytes)}`,
    `root process ${manifest.cpu.rootPid}, CPU side ${bytes(BigInt(manifest.cpu.bytes))}` +
      ` (CRIU ${manifest.cpu.criuVersion})`,
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
