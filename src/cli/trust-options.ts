// SPDX-License-Identifier: Apache-2.0
// Options by which a command is told of keys: the same words wherever an image is read.
import type { Command } from 'commander';
import { PhosError } from '../errors/phos-error.ts';
import { readKey, readTrustedKey, type Trust } from '../image/keys.ts';

export interface KeyOptions {
  readonly keyFile?: string;
  readonly keyFd?: string;
}
export interface TrustOptions extends KeyOptions {
  readonly trustedKey: readonly string[];
  readonly requireSignature: boolean;
}

export function addKeyOptions(command: Command): Command {
  return command
    .option('--key-file <file>', 'key of an encrypted image: 32 bytes or 64 hexadecimal digits')
    .option('--key-fd <number>', 'the same from an open descriptor');
}

export function addTrustOptions(command: Command): Command {
  const collect = (path: string, all: readonly string[]): readonly string[] => [...all, path];
  return addKeyOptions(command)
    .option('--trusted-key <file>', 'Ed25519 public key (PEM) whose signature counts', collect, [])
    .option('--require-signature', 'refuse images that no trusted key has signed', false);
}

/** @throws PhosError USAGE, NOT_FOUND, PERMISSION */
export function keyOf(options: KeyOptions): Buffer | null {
  const { keyFile, keyFd } = options;
  if (keyFile !== undefined && keyFd !== undefined) {
    throw new PhosError('USAGE', 'give --key-file or --key-fd, not both');
  }
  if (keyFile !== undefined) return readKey(keyFile);
  if (keyFd === undefined) return null;
  if (!/^\d{1,6}$/.test(keyFd)) throw new PhosError('USAGE', `'${keyFd}' is no descriptor`);
  return readKey(Number(keyFd));
}

/** @throws PhosError USAGE, NOT_FOUND, PERMISSION */
export function trustOf(options: TrustOptions): Trust {
  if (options.requireSignature && options.trustedKey.length === 0) {
    throw new PhosError('USAGE', '--require-signature needs a --trusted-key');
  }
  return {
    key: keyOf(options),
    trusted: options.trustedKey.map(readTrustedKey),
    requireSignature: options.requireSignature,
  };
}
