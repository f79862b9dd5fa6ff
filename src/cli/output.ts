// SPDX-License-Identifier: Apache-2.0
// What a command says: data on stdout, the rest on stderr. With --json stdout is one JSON object,
// for failures too; text is for people and no promise.
import { PhosError } from '../errors/phos-error.ts';

export class Output {
  readonly json: boolean;

  constructor(json: boolean) {
    this.json = json;
  }

  /** The result: `text` for people, `data` for programs. */
  result(data: unknown, text: string): void {
    const line = this.json ? JSON.stringify(data, plain) : text;
    if (line !== '') process.stdout.write(`${line}\n`);
  }

  /** A remark. */
  note(text: string): void {
    process.stderr.write(`phos: ${text}\n`);
  }

  failure(thrown: unknown): PhosError {
    const error = PhosError.from(thrown, 'phos');
    if (this.json) process.stdout.write(`${JSON.stringify({ error: error.toJSON() })}\n`);
    else process.stderr.write(`phos: ${error.message}\n`);
    if (error.code === 'INTERNAL' && error.cause instanceof Error) {
      process.stderr.write(`${error.cause.stack ?? ''}\n`);
    }
    return error;
  }
}

// Byte counts stay below 2^53; handles and addresses are given as strings by whoever prints them.
// Members that begin with $ belong to the RPC library.
function plain(key: string, value: unknown): unknown {
  if (key.startsWith('$')) return undefined;
  return typeof value === 'bigint' ? Number(value) : value;
}
