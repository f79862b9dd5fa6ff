// SPDX-License-Identifier: Apache-2.0
/**
 * Reads the declarations of a preprocessed C header: typedefs, enums, structs, unions and function
 * prototypes. It knows the C that cuda.h uses and fails on anything else, naming the tokens.
 */
import { evaluateInteger } from './preprocess.ts';

interface CParam {
  readonly name: string;
  readonly type: string;
}

/** A plain field has a type; a nested one has a kind and fields. Arrays hold their lengths. */
interface CField {
  readonly name: string;
  readonly type: string | null;
  readonly nested: CRecord | null;
  readonly array: readonly number[];
}

export interface CRecord {
  readonly kind: 'struct' | 'union';
  readonly tag: string;
  readonly fields: readonly CField[];
  readonly align: number;
}

export interface CFunctionType {
  readonly result: string;
  readonly params: readonly CParam[];
}

export interface CHeader {
  readonly opaque: Map<string, string>;
  readonly aliases: Map<string, string>;
  readonly callbacks: Map<string, CFunctionType>;
  readonly enums: Map<
    string,
    { readonly tag: string; readonly values: ReadonlyMap<string, number> }
  >;
  readonly records: Map<string, CRecord>;
  readonly functions: Map<string, CFunctionType>;
  /** Every declared name in the order of the header. */
  readonly order: string[];
}

const IDENTIFIER = /^[A-Za-z_]\w*$/;
const SIZES: Readonly<Record<string, number>> = { char: 1, int: 4, CUlaunchAttributeID: 4 };

/** Writes a type in one way only: base words, then a space, then the stars: `const char **`. */
function canonicalType(tokens: readonly string[]): string {
  const firstStar = tokens.indexOf('*');
  const base = (firstStar < 0 ? tokens : tokens.slice(0, firstStar)).filter(
    (t) => t !== 'struct' && t !== 'enum',
  );
  const stars = firstStar < 0 ? [] : tokens.slice(firstStar);
  let words = base.join(' ');
  words = words
    .replace(/\bunsigned(?! (?:int|char|short|long))/, 'unsigned int')
    .replace(/\blong unsigned int\b/, 'unsigned long');
  const tail = stars
    .map((s) => (s === '*' ? '*' : `${s} `))
    .join('')
    .trimEnd();
  return tail === '' ? words : `${words} ${tail}`;
}

class Reader {
  private at = 0;
  private readonly tokens: readonly string[];
  readonly header: CHeader = {
    opaque: new Map(),
    aliases: new Map(),
    callbacks: new Map(),
    enums: new Map(),
    records: new Map(),
    functions: new Map(),
    order: [],
  };
  private readonly enumValues = new Map<string, number>();

  constructor(tokens: readonly string[]) {
    this.tokens = tokens;
  }

  run(): CHeader {
    while (this.at < this.tokens.length) this.declaration();
    return this.header;
  }

  private peek(offset = 0): string {
    return this.tokens[this.at + offset] ?? '';
  }

  private take(expected?: string): string {
    const token = this.peek();
    if (expected !== undefined && token !== expected) this.fail(`expected ${expected}`);
    this.at += 1;
    return token;
  }

  private fail(why: string): never {
    throw new Error(`${why} at "${this.tokens.slice(this.at, this.at + 12).join(' ')}"`);
  }

  private declaration(): void {
    if (this.peek() === ';' || this.peek() === '}') {
      this.at += 1;
    } else if (this.peek() === 'extern') {
      this.at += 3; // extern "C" {
    } else if (this.peek() === 'static') {
      this.skipInlineFunction();
    } else if (this.peek() === 'typedef') {
      this.take();
      this.typedef();
    } else {
      this.prototype();
    }
  }

  private skipInlineFunction(): void {
    while (this.peek() !== '{') this.at += 1;
    let depth = 0;
    do {
      if (this.peek() === '{') depth += 1;
      if (this.peek() === '}') depth -= 1;
      this.at += 1;
    } while (depth > 0);
  }

  private declare(name: string): string {
    this.header.order.push(name);
    return name;
  }

  private typedef(): void {
    const word = this.peek();
    const hasBody = this.peek(1) === '{' || this.peek(2) === '{';
    if (word === 'enum' && hasBody) return this.enumeration();
    if ((word === 'struct' || word === 'union') && hasBody) {
      const record = this.record();
      const name = this.declare(this.take());
      this.header.records.set(name, record);
      this.take(';');
      return;
    }
    const tokens = this.takeUntilOneOf([';', '(']);
    if (this.peek() === '(') return this.callback(tokens);
    this.take(';');
    const name = this.declare(tokens.pop() ?? '');
    if (tokens[0] === 'struct' && tokens[2] === '*') this.header.opaque.set(name, tokens[1] ?? '');
    else this.header.aliases.set(name, canonicalType(tokens));
  }

  private takeUntilOneOf(stops: readonly string[]): string[] {
    const out: string[] = [];
    while (!stops.includes(this.peek())) out.push(this.take());
    return out;
  }

  private callback(result: readonly string[]): void {
    this.take('(');
    if (this.peek() !== '*') this.fail('only pointers to functions can be typedefs');
    this.take('*');
    const name = this.declare(this.take());
    this.take(')');
    this.header.callbacks.set(name, { result: canonicalType(result), params: this.parameters() });
    this.take(';');
  }

  private parameters(): CParam[] {
    this.take('(');
    const params: CParam[] = [];
    while (this.peek() !== ')') {
      const tokens = this.takeUntilOneOf([',', ')']);
      if (this.peek() === ',') this.take();
      if (tokens.length === 1 && tokens[0] === 'void') continue;
      const last = tokens.at(-1) ?? '';
      const named = tokens.length > 1 && IDENTIFIER.test(last) && last !== 'int';
      params.push({
        name: named ? last : '',
        type: canonicalType(named ? tokens.slice(0, -1) : tokens),
      });
    }
    this.take(')');
    return params;
  }

  private prototype(): void {
    const tokens = this.takeUntilOneOf(['(', ';']);
    if (this.peek() === ';') return; // a forward declaration
    const name = tokens.pop() ?? '';
    if (!IDENTIFIER.test(name)) this.fail(`"${name}" is not a function name`);
    const params = this.parameters();
    this.take(';');
    if (this.header.functions.has(name)) this.fail(`${name} is declared twice before this place`);
    this.header.functions.set(this.declare(name), { result: canonicalType(tokens), params });
  }

  private enumeration(): void {
    this.take('enum');
    const tag = this.peek() === '{' ? '' : this.take();
    this.take('{');
    const values = new Map<string, number>();
    let next = 0;
    while (this.peek() !== '}') {
      if (this.peek() === ',') {
        this.take();
        continue;
      }
      const name = this.take();
      if (this.peek() === '=') {
        this.take();
        next = this.constant(this.takeUntilOneOf([',', '}']));
      }
      values.set(name, next);
      this.enumValues.set(name, next);
      next += 1;
    }
    this.take('}');
    this.header.enums.set(this.declare(this.take()), { tag, values });
    this.take(';');
  }

  /** A constant may name earlier enumerators and take the size of a pointer or a small type. */
  private constant(tokens: readonly string[]): number {
    const text = tokens.join(' ').replace(/sizeof \( ([^)]*) \)/g, (_, type: string) => {
      const size = type.includes('*') ? 8 : SIZES[type.trim()];
      if (size === undefined) throw new Error(`the size of ${type} is not known`);
      return String(size);
    });
    return evaluateInteger(text.split(' ').map((t) => String(this.enumValues.get(t) ?? t)));
  }

  private record(): CRecord {
    const kind = this.take() === 'union' ? 'union' : 'struct';
    const tag = this.peek() === '{' ? '' : this.take();
    this.take('{');
    const fields: CField[] = [];
    let align = 0;
    while (this.peek() !== '}') {
      if (this.peek() === 'alignas' || this.peek() === '_Alignas') {
        this.at += 2;
        align = Number(this.take());
        this.take(')');
      }
      fields.push(...this.field());
    }
    this.take('}');
    return { kind, tag, fields, align };
  }

  private field(): CField[] {
    const first = this.peek();
    const hasBody = this.peek(1) === '{' || this.peek(2) === '{';
    if ((first === 'struct' || first === 'union') && hasBody) {
      const nested = this.record();
      const name = this.peek() === ';' ? '' : this.take();
      const array = this.arrayLengths();
      this.take(';');
      return [{ name, type: null, nested, array }];
    }
    const tokens = this.takeUntilOneOf([';', '[']);
    if (tokens.includes(':')) this.fail('bit-fields are not understood');
    const name = tokens.pop() ?? '';
    const array = this.arrayLengths();
    this.take(';');
    return [{ name, type: canonicalType(tokens), nested: null, array }];
  }

  private arrayLengths(): number[] {
    const lengths: number[] = [];
    while (this.peek() === '[') {
      this.take();
      lengths.push(this.constant(this.takeUntilOneOf([']'])));
      this.take(']');
    }
    return lengths;
  }
}

export function parseHeader(tokens: readonly string[]): CHeader {
  return new Reader(tokens).run();
}
