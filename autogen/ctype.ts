// SPDX-License-Identifier: Apache-2.0
/** C types as the notation writes them: `const CUgraphNode *`, `unsigned int`, `char [64]`. */

export interface Declaration {
  readonly name: string;
  readonly type: string;
  readonly array: readonly number[];
}

/** Splits `unsigned int pad[4]` into its name, its type in the canonical form, and its lengths. */
export function parseDeclaration(text: string): Declaration {
  const match = /^(.*?[\s*])(\w+)((?:\[\d+\])*)$/.exec(text.trim());
  if (match === null)
    throw new Error(`"${text}" is not a declaration such as "int *value" or "char pad[8]"`);
  const array = [...(match[3] ?? '').matchAll(/\[(\d+)\]/g)].map((m) => Number(m[1]));
  return { name: match[2] ?? '', type: (match[1] ?? '').trim(), array };
}

export function declare(type: string, name: string): string {
  return type.endsWith('*') ? `${type}${name}` : `${type} ${name}`;
}

export interface TypeParts {
  readonly base: string;
  readonly isConst: boolean;
  /** How many pointers are around the base. */
  readonly depth: number;
}

export function splitType(type: string): TypeParts {
  const match = /^(const )?([\w ]+?)(?: (\*[*\w ]*))?$/.exec(type);
  if (match === null) throw new Error(`"${type}" is not a type that the notation knows`);
  return {
    base: match[2] ?? '',
    isConst: match[1] !== undefined,
    depth: [...(match[3] ?? '')].filter((c) => c === '*').length,
  };
}
