// SPDX-License-Identifier: Apache-2.0
// Names of things. Short, so that socket paths fit, and never reused within a runtime folder.
import { ID_LENGTH } from './runtime-dir.ts';

export type ClientId = string;
export type ExecutorId = string;
export type KeeperId = string;
export type JobId = string;

const kinds = { executor: 'x', keeper: 'k', job: 'j' } as const;
export type IdKind = keyof typeof kinds;

/** Makes an id of a kind from eight random hexadecimal digits. */
export function makeId(kind: IdKind, hexDigits: string): string {
  return `${kinds[kind]}${hexDigits.slice(0, ID_LENGTH - 1)}`;
}

export function isId(kind: IdKind, text: string): boolean {
  return text.length === ID_LENGTH && text[0] === kinds[kind] && /^[0-9a-f]+$/.test(text.slice(1));
}

/** A client id is chosen by the client: 16 bytes as 32 hexadecimal digits. */
export function isClientId(text: string): boolean {
  return /^[0-9a-f]{32}$/.test(text);
}
