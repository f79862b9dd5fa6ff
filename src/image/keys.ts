// SPDX-License-Identifier: Apache-2.0
// Keys of images: the one that encrypts, and the pair that signs manifests.
import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { fstatSync, readFileSync } from 'node:fs';
import { PhosError } from '../errors/phos-error.ts';
import type { ManifestSignature } from '../model/image-manifest.ts';
import { storageError } from './files.ts';

const KEY_BYTES = 32;
const MAX_KEY_FILE_BYTES = 65_536;

/** What a reader demands of an image. */
export interface Trust {
  /** Of an encrypted image; others do without. */
  readonly key: Buffer | null;
  /** Ed25519 keys whose signature counts. */
  readonly trusted: readonly KeyObject[];
  /** Images without a signature that counts are refused. */
  readonly requireSignature: boolean;
}

/** Takes any image that is whole and not encrypted. */
export const noDemands: Trust = { key: null, trusted: [], requireSignature: false };

/**
 * A key of 32 bytes, or of 64 hexadecimal digits, from a file or a descriptor.
 *
 * @throws PhosError USAGE when it is none, NOT_FOUND, PERMISSION
 */
export function readKey(from: string | number): Buffer {
  const name = typeof from === 'number' ? `descriptor ${from}` : from;
  const data = readSmall(from, name);
  if (data.length === KEY_BYTES) return data;
  const text = data.toString('latin1').trim();
  if (/^[0-9a-fA-F]{64}$/.test(text)) return Buffer.from(text, 'hex');
  throw new PhosError(
    'USAGE',
    `${name} holds no key: 32 bytes or 64 hexadecimal digits are wanted; ` +
      'make one with `head -c 32 /dev/urandom`',
  );
}

/** An Ed25519 private key as PEM (`openssl genpkey -algorithm ed25519`). @throws PhosError USAGE */
export function readSignKey(path: string): KeyObject {
  return readEd25519(path, (pem) => createPrivateKey(pem), 'private');
}

/** An Ed25519 public key as PEM (`openssl pkey -pubout`). @throws PhosError USAGE */
export function readTrustedKey(path: string): KeyObject {
  return readEd25519(path, (pem) => createPublicKey(pem), 'public');
}

function readEd25519(path: string, parse: (pem: Buffer) => KeyObject, kind: string): KeyObject {
  const pem = readSmall(path, path);
  let key: KeyObject;
  try {
    key = parse(pem);
  } catch (cause) {
    throw new PhosError('USAGE', `${path} is not a ${kind} key in PEM`, { cause });
  }
  if (key.asymmetricKeyType === 'ed25519') return key;
  throw new PhosError('USAGE', `${path} is a key of another kind; images take Ed25519`);
}

function readSmall(from: string | number, name: string): Buffer {
  try {
    if (typeof from === 'number') fstatSync(from);
    const data = readFileSync(from);
    if (data.length <= MAX_KEY_FILE_BYTES) return data;
  } catch (thrown) {
    if ((thrown as { code?: unknown }).code === 'EBADF') {
      throw new PhosError('USAGE', `${name} is not open; pass it with the shell's N<file`);
    }
    throw storageError(thrown, `reading the key in ${name}`);
  }
  throw new PhosError('USAGE', `${name} is too large for a key`);
}

/** What a signature covers: the manifest's checksum, which covers everything else. */
function signedText(checksum: string): Buffer {
  return Buffer.from(`phos-image-manifest ${checksum}`);
}

function rawPublic(key: KeyObject): string {
  const half = key.type === 'private' ? createPublicKey(key) : key;
  const { x = '' } = half.export({ format: 'jwk' });
  return Buffer.from(x, 'base64url').toString('hex');
}

export function signManifest(checksum: string, key: KeyObject): ManifestSignature {
  return {
    algorithm: 'ed25519',
    publicKey: rawPublic(key),
    value: sign(null, signedText(checksum), key).toString('hex'),
  };
}

/**
 * Whether a manifest is signed as it must be.
 *
 * @throws PhosError IMAGE_INVALID when a signature does not fit, PERMISSION when one is demanded
 *   and there is none, or none by a trusted key
 */
export function checkSignature(
  directory: string,
  checksum: string,
  signature: ManifestSignature | null,
  trust: Trust,
): void {
  if (signature === null) {
    if (!trust.requireSignature) return;
    throw new PhosError('PERMISSION', `the image ${directory} is not signed, and it must be`, {
      details: { directory },
    });
  }
  const x = Buffer.from(signature.publicKey, 'hex').toString('base64url');
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  if (!verify(null, signedText(checksum), key, Buffer.from(signature.value, 'hex'))) {
    throw new PhosError(
      'IMAGE_INVALID',
      `the signature of the image ${directory} does not fit its manifest; take another image`,
      { details: { directory } },
    );
  }
  if (!trust.requireSignature && trust.trusted.length === 0) return;
  if (trust.trusted.some((one) => rawPublic(one) === signature.publicKey)) return;
  throw new PhosError(
    'PERMISSION',
    `the image ${directory} is signed by ${signature.publicKey}, which is not trusted; ` +
      'name its public key with --trusted-key',
    { details: { directory, publicKey: signature.publicKey } },
  );
}
