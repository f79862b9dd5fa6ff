// SPDX-License-Identifier: Apache-2.0
// Splits a byte stream into JSON lines, with a limit, for both ends of the control socket.
import { PhosError } from '../errors/phos-error.ts';
import { MAX_LINE_BYTES } from './protocol.ts';

/** Feeds bytes in, gets parsed lines out. Throws TRANSPORT on a line too long or not JSON. */
export class LineReader {
  #parts: Buffer[] = [];
  #bytes = 0;

  push(data: Buffer): unknown[] {
    const lines: unknown[] = [];
    let rest = data;
    for (;;) {
      const end = rest.indexOf(0x0a);
      if (end < 0) break;
      this.#keep(rest.subarray(0, end));
      const text = Buffer.concat(this.#parts).toString('utf8');
      this.#parts = [];
      this.#bytes = 0;
      rest = rest.subarray(end + 1);
      if (text.length > 0) lines.push(parse(text));
    }
    this.#keep(rest);
    return lines;
  }

  #keep(part: Buffer): void {
    if (part.length === 0) return;
    this.#bytes += part.length;
    if (this.#bytes > MAX_LINE_BYTES) {
      throw new PhosError(
        'TRANSPORT',
        `A control message is longer than ${MAX_LINE_BYTES} bytes; ` +
          'the peer does not speak this protocol.',
      );
    }
    this.#parts.push(part);
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new PhosError(
      'TRANSPORT',
      'A control message is not JSON; the peer does not speak this protocol.',
      { cause },
    );
  }
}
