// SPDX-License-Identifier: Apache-2.0
// How long the functions of a file are: by the compiler's own tree for TypeScript, by matching
// braces for C and C++, where a block that follows a parameter list outside any other function
// is a function.

import ts from 'typescript';

export interface FunctionLength {
  readonly name: string;
  /** First line, counted from 1. */
  readonly line: number;
  readonly lines: number;
}

/** Functions of a TypeScript or JavaScript file; those inside another count for themselves too. */
export function typeScriptFunctions(path: string, text: string): FunctionLength[] {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const found: FunctionLength[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node) && 'body' in node && node.body !== undefined) {
      const start = source.getLineAndCharacterOfPosition(node.getStart(source)).line;
      const end = source.getLineAndCharacterOfPosition(node.getEnd()).line;
      const name = node.name === undefined ? 'anonymous' : node.name.getText(source);
      // The callback of describe() is a list of tests, not a function that is read as one.
      if (!isSuite(node)) found.push({ name, line: start + 1, lines: end - start + 1 });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function isSuite(node: ts.Node): boolean {
  const call = node.parent;
  return ts.isCallExpression(call) && /^describe(\.|$)/.test(call.expression.getText());
}

/** Functions of a C or C++ file, lambdas not counted. */
export function nativeFunctions(text: string): FunctionLength[] {
  const clean = blankCommentsAndStrings(text);
  const found: FunctionLength[] = [];
  const open: { isFunction: boolean; start: number; name: string }[] = [];
  let head = '';
  let headLine = 1;
  let line = 1;
  for (const char of clean) {
    if (char === '\n') line += 1;
    if (char === '{') {
      const inside = open.some((block) => block.isFunction);
      open.push({
        isFunction: !inside && isFunctionHead(head),
        start: headLine,
        name: nameOf(head),
      });
      head = '';
    } else if (char === '}') {
      const block = open.pop();
      if (block?.isFunction === true) {
        found.push({ name: block.name, line: block.start, lines: line - block.start + 1 });
      }
      head = '';
    } else if (char === ';') {
      head = '';
    } else {
      if (head.trim() === '') headLine = line;
      head += char;
    }
  }
  return found;
}

function isFunctionHead(head: string): boolean {
  const text = head.replace(/^\s*#.*$/gm, '').trim();
  if (/^(extern|namespace|class|struct|union|enum)\b[^(]*$/.test(text)) return false;
  if (/[=,(]$/.test(text)) return false;
  return /\)\s*(const|noexcept|override|final|mutable|&|->[\s\w:<>*&,]+|:\s*[^;]*|\s)*$/.test(text);
}

function nameOf(head: string): string {
  return /([\w:~]+)\s*\(/.exec(head)?.[1] ?? 'anonymous';
}

/** The same text with comments and literals replaced by blanks, so that braces count. */
export function blankCommentsAndStrings(text: string): string {
  const pieces = [
    /R"(\w*)\([\s\S]*?\)\1"/,
    /\/\/[^\n]*/,
    /\/\*[\s\S]*?\*\//,
    /"(?:\\.|[^"\\\n])*"/,
    /(?<!\w)'(?:\\.|[^'\\\n])*'/,
  ];
  const pattern = new RegExp(pieces.map(({ source }) => source).join('|'), 'g');
  return text.replace(pattern, (match) => match.replace(/[^\n]/g, ' '));
}
