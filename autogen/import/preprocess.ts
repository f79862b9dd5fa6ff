// SPDX-License-Identifier: Apache-2.0
/**
 * A preprocessor small enough to read, and large enough for cuda.h and cudaTypedefs.h: comments,
 * conditionals over defined names, and macros with arguments and `##`. It follows no #include.
 */

export interface Macro {
  readonly params: readonly string[] | null;
  readonly body: readonly string[];
}

export interface Preprocessed {
  readonly tokens: readonly string[];
  /** Macros as they stood at each #define, the last definition winning; kept after #undef. */
  readonly macros: ReadonlyMap<string, Macro>;
}

const TOKEN =
  /[A-Za-z_]\w*|0[xX][0-9A-Fa-f]+[uUlL]*|\d[\w.]*|"(?:[^"\\]|\\.)*"|##|<<|>>|&&|\|\||[<>=!]=|\S/g;

function tokenize(text: string): string[] {
  return text.match(TOKEN) ?? [];
}

function stripComments(text: string): string {
  return text
    .replace(/\\\r?\n/g, ' ')
    .replace(/\/\*[\s\S]*?\*\//g, (c) => '\n'.repeat(c.split('\n').length - 1) || ' ')
    .replace(/\/\/[^\n]*/g, '');
}

function pasteTokens(tokens: string[]): string[] {
  const out: string[] = [];
  for (let i = 0; i < tokens.length; i += 1) {
    if (tokens[i] === '##' && out.length > 0 && i + 1 < tokens.length) {
      out[out.length - 1] += tokens[i + 1] ?? '';
      i += 1;
    } else {
      out.push(tokens[i] ?? '');
    }
  }
  return out;
}

/** Reads the arguments of a macro call whose `(` is at `open`; null where there is no call. */
function readArguments(
  tokens: readonly string[],
  open: number,
): { args: string[][]; end: number } | null {
  if (tokens[open] !== '(') return null;
  const args: string[][] = [[]];
  let depth = 0;
  for (let i = open; i < tokens.length; i += 1) {
    const token = tokens[i] ?? '';
    if (token === '(') depth += 1;
    if (token === ')') depth -= 1;
    if (depth === 0) return { args, end: i };
    if (depth === 1 && token === ',') args.push([]);
    else if (!(depth === 1 && token === '(')) args.at(-1)?.push(token);
  }
  return null;
}

function expandMacros(
  tokens: readonly string[],
  macros: ReadonlyMap<string, Macro>,
  hidden: ReadonlySet<string> = new Set(),
): string[] {
  const out: string[] = [];
  for (let i = 0; i < tokens.length; i += 1) {
    const name = tokens[i] ?? '';
    const macro = hidden.has(name) ? undefined : macros.get(name);
    if (macro === undefined) {
      out.push(name);
      continue;
    }
    const inner = new Set(hidden).add(name);
    if (macro.params === null) {
      out.push(...expandMacros(macro.body, macros, inner));
      continue;
    }
    const call = readArguments(tokens, i + 1);
    if (call === null) {
      out.push(name);
      continue;
    }
    const pastes = macro.body.includes('##');
    const bound = new Map(
      macro.params.map((param, k) => {
        const argument = call.args[k] ?? [];
        return [param, pastes ? argument : expandMacros(argument, macros, hidden)] as const;
      }),
    );
    const filled = macro.body.flatMap((token) => bound.get(token) ?? [token]);
    out.push(...expandMacros(pasteTokens(filled), macros, inner));
    i = call.end;
  }
  return out;
}

/** Evaluates a #if expression: defined(), integers, and the operators ! && || and comparisons. */
function evaluateCondition(text: string, macros: ReadonlyMap<string, Macro>): boolean {
  const raw = tokenize(text);
  const resolved: string[] = [];
  for (let i = 0; i < raw.length; i += 1) {
    if (raw[i] === 'defined') {
      const bare = raw[i + 1] !== '(';
      const name = (bare ? raw[i + 1] : raw[i + 2]) ?? '';
      resolved.push(macros.has(name) ? '1' : '0');
      i += bare ? 1 : 3;
    } else {
      resolved.push(raw[i] ?? '');
    }
  }
  const tokens = expandMacros(resolved, macros).map((t) =>
    /^[A-Za-z_]/.test(t) ? '0' : t.replace(/[uUlL]+$/, ''),
  );
  return evaluateInteger(tokens) !== 0;
}

const LEVELS: readonly (readonly string[])[] = [
  ['||'],
  ['&&'],
  ['|'],
  ['&'],
  ['==', '!='],
  ['<', '>', '<=', '>='],
  ['<<', '>>'],
  ['+', '-'],
  ['*'],
];

function applyOperator(op: string, a: number, b: number): number {
  switch (op) {
    case '||':
      return a !== 0 || b !== 0 ? 1 : 0;
    case '&&':
      return a !== 0 && b !== 0 ? 1 : 0;
    case '|':
      return a | b;
    case '&':
      return a & b;
    case '==':
      return a === b ? 1 : 0;
    case '!=':
      return a !== b ? 1 : 0;
    case '<':
      return a < b ? 1 : 0;
    case '>':
      return a > b ? 1 : 0;
    case '<=':
      return a <= b ? 1 : 0;
    case '>=':
      return a >= b ? 1 : 0;
    case '<<':
      return a * 2 ** b;
    case '>>':
      return Math.floor(a / 2 ** b);
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    default:
      throw new Error(`operator ${op} is not known`);
  }
}

/** Evaluates an integer expression of C whose names have been replaced by numbers. */
export function evaluateInteger(tokens: readonly string[]): number {
  let at = 0;
  const unary = (): number => {
    const token = tokens[at] ?? '';
    at += 1;
    if (token === '!') return unary() === 0 ? 1 : 0;
    if (token === '-') return -unary();
    if (token === '~') return ~unary();
    if (token === '(') {
      const value = binary(0);
      if (tokens[at] !== ')') throw new Error(`missing ) in "${tokens.join(' ')}"`);
      at += 1;
      return value;
    }
    const value = Number(token.replace(/[uUlL]+$/, ''));
    if (!Number.isFinite(value) || token === '')
      throw new Error(`"${token}" is not an integer in "${tokens.join(' ')}"`);
    return value;
  };
  const binary = (level: number): number => {
    const operators = LEVELS[level];
    if (operators === undefined) return unary();
    let left = binary(level + 1);
    while (operators.includes(tokens[at] ?? '')) {
      const op = tokens[at] ?? '';
      at += 1;
      left = applyOperator(op, left, binary(level + 1));
    }
    return left;
  };
  const value = binary(0);
  if (at !== tokens.length) throw new Error(`"${tokens.join(' ')}" is more than one expression`);
  return value;
}

interface Branch {
  active: boolean;
  taken: boolean;
  readonly outer: boolean;
}

/** Runs the preprocessor over one header with the given names defined beforehand. */
export function preprocess(text: string, defines: Readonly<Record<string, string>>): Preprocessed {
  const macros = new Map<string, Macro>();
  const everDefined = new Map<string, Macro>();
  for (const [name, value] of Object.entries(defines))
    macros.set(name, { params: null, body: tokenize(value) });
  const stack: Branch[] = [];
  const tokens: string[] = [];
  let pending: string[] = [];
  const flush = (): void => {
    tokens.push(...expandMacros(pending, macros));
    pending = [];
  };
  const isActive = (): boolean => stack.at(-1)?.active ?? true;
  for (const line of stripComments(text).split('\n')) {
    const directive = /^\s*#\s*(\w+)\s*(.*)$/.exec(line);
    if (directive === null) {
      if (isActive()) pending.push(...tokenize(line));
      continue;
    }
    // A macro holds from its line on, so what came before is expanded first.
    flush();
    applyDirective(directive[1] ?? '', (directive[2] ?? '').trim(), stack, macros, everDefined);
  }
  flush();
  return { tokens, macros: everDefined };
}

function applyDirective(
  word: string,
  rest: string,
  stack: Branch[],
  macros: Map<string, Macro>,
  everDefined: Map<string, Macro>,
): void {
  const active = stack.at(-1)?.active ?? true;
  const open = (condition: boolean): void => {
    stack.push({ active: active && condition, taken: condition, outer: active });
  };
  const top = stack.at(-1);
  if (word === 'if') open(active && evaluateCondition(rest, macros));
  else if (word === 'ifdef') open(macros.has(rest));
  else if (word === 'ifndef') open(!macros.has(rest));
  else if (word === 'endif') stack.pop();
  else if ((word === 'elif' || word === 'else') && top !== undefined) {
    const condition =
      !top.taken && (word === 'else' || (top.outer && evaluateCondition(rest, macros)));
    top.active = top.outer && condition;
    top.taken ||= condition;
  } else if (word === 'undef' && active) macros.delete(rest);
  else if (word === 'error' && active) throw new Error(`#error ${rest}`);
  else if (word === 'define' && active) defineMacro(rest, macros, everDefined);
}

function defineMacro(
  rest: string,
  macros: Map<string, Macro>,
  everDefined: Map<string, Macro>,
): void {
  const match = /^(\w+)(\(([^)]*)\))?\s*(.*)$/.exec(rest);
  if (match === null) throw new Error(`#define ${rest} is not understood`);
  const params =
    match[2] === undefined
      ? null
      : (match[3] ?? '')
          .split(',')
          .map((p) => p.trim())
          .filter((p) => p !== '');
  const macro = { params, body: tokenize(match[4] ?? '') };
  macros.set(match[1] ?? '', macro);
  everDefined.set(match[1] ?? '', macro);
}
