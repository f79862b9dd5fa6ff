// SPDX-License-Identifier: Apache-2.0
/** Reads the notation from its folder and validates each file against the schema. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import {
  type ErrorNotation,
  errorFileSchema,
  type FunctionNotation,
  type HandleNotation,
  handleFileSchema,
  type InternalCommand,
  internalFileSchema,
  type SizeNotation,
  sizeFileSchema,
  topicFileSchema,
  type TypeFile,
  typeFileSchema,
} from './schema.ts';

/** The notation is wrong; the message names the file and says what to write instead. */
export class NotationError extends Error {
  override readonly name = 'NotationError';
}

export interface Notation {
  readonly functions: readonly (FunctionNotation & { readonly topic: string })[];
  readonly topics: readonly { readonly topic: string; readonly title: string }[];
  readonly types: TypeFile;
  readonly internal: readonly InternalCommand[];
  readonly exports: readonly { readonly symbol: string; readonly why: string }[];
  readonly handles: readonly HandleNotation[];
  readonly sizes: readonly SizeNotation[];
  readonly errors: readonly ErrorNotation[];
}

/** Where in the file a problem is: list items are named by their `name`, not by their index. */
function describePath(data: unknown, path: readonly PropertyKey[]): string {
  const words: string[] = [];
  let here: unknown = data;
  for (const key of path) {
    here =
      typeof here === 'object' && here !== null
        ? (here as Record<PropertyKey, unknown>)[key]
        : undefined;
    const named =
      typeof here === 'object' && here !== null && 'name' in here ? String(here.name) : null;
    words.push(typeof key === 'number' && named !== null ? named : String(key));
  }
  return words.join(' > ');
}

/** Parses and validates one file. Throws NotationError naming file, place and expectation. */
export function parseNotation<T>(file: string, text: string, schema: z.ZodType<T>): T {
  const document = parseDocument(text, { uniqueKeys: true });
  const broken = document.errors[0];
  if (broken !== undefined) throw new NotationError(`${file}: not YAML: ${broken.message}`);
  const data: unknown = document.toJS();
  const result = schema.safeParse(data);
  if (result.success) return result.data;
  const lines = result.error.issues.map((issue) => {
    const place = describePath(data, issue.path);
    return `  ${place === '' ? 'the file' : place}: ${issue.message}`;
  });
  throw new NotationError(`${file} is not valid notation:\n${lines.join('\n')}`);
}

function readYaml<T>(path: string, schema: z.ZodType<T>): T {
  return parseNotation(basename(path), readFileSync(path, 'utf8'), schema);
}

const SPECIAL = new Set(['handles.yaml', 'internal.yaml', 'sizes.yaml', 'errors.yaml']);

function yamlFiles(folder: string): string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.yaml'))
    .sort();
}

function mergeTypes(files: readonly TypeFile[]): TypeFile {
  const merged: TypeFile = {
    constants: {},
    opaque: {},
    aliases: {},
    callbacks: {},
    enums: {},
    records: {},
  };
  const seen = new Set<string>();
  for (const file of files) {
    for (const section of Object.keys(merged) as (keyof TypeFile)[]) {
      for (const [name, value] of Object.entries(file[section])) {
        if (seen.has(name)) throw new NotationError(`types: ${name} is stated twice; keep one`);
        seen.add(name);
        (merged[section] as Record<string, unknown>)[name] = value;
      }
    }
  }
  return merged;
}

export function loadNotation(folder: string): Notation {
  const topicFiles = yamlFiles(folder)
    .filter((file) => !SPECIAL.has(file))
    .map((file) => readYaml(join(folder, file), topicFileSchema));
  const functions = topicFiles.flatMap((file) =>
    file.functions.map((f) => ({ ...f, topic: file.topic })),
  );
  const internal = readYaml(join(folder, 'internal.yaml'), internalFileSchema);
  return {
    functions: functions.sort((a, b) => a.id - b.id),
    topics: topicFiles.map(({ topic, title }) => ({ topic, title })),
    types: mergeTypes(
      yamlFiles(join(folder, 'types')).map((file) =>
        readYaml(join(folder, 'types', file), typeFileSchema),
      ),
    ),
    internal: internal.commands,
    exports: internal.exports,
    handles: readYaml(join(folder, 'handles.yaml'), handleFileSchema).handles,
    sizes: readYaml(join(folder, 'sizes.yaml'), sizeFileSchema).sizes,
    errors: readYaml(join(folder, 'errors.yaml'), errorFileSchema).errors,
  };
}
