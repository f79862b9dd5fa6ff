// SPDX-License-Identifier: Apache-2.0
/** Error codes and exit codes for TypeScript, C++ and the documentation. */
import type { Ir } from '../ir.ts';
import type { ErrorNotation } from '../schema.ts';
import { generated, type OutputFile } from './output.ts';

const quote = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;

function typescript(errors: readonly ErrorNotation[]): OutputFile {
  return generated(
    'src/gen/error-codes.ts',
    'Codes of errors, and the exit code that a command ends with.',
    [
      '',
      'export interface ErrorInfo {',
      '  /** Exit code of a command that ends with this error. */',
      '  readonly exitCode: number;',
      '  /** The same request may succeed later. */',
      '  readonly retryable: boolean;',
      '  readonly meaning: string;',
      '  readonly cure: string;',
      '}',
      '',
      'export type ErrorCode =',
      ...errors.map((e, i) => `  | '${e.code}'${i === errors.length - 1 ? ';' : ''}`),
      '',
      'export const ERRORS: Readonly<Record<ErrorCode, ErrorInfo>> = {',
      ...errors.flatMap((e) => [
        `  ${e.code}: {`,
        `    exitCode: ${e.exit},`,
        `    retryable: ${e.retryable},`,
        `    meaning: ${quote(e.meaning)},`,
        `    cure: ${quote(e.cure)},`,
        '  },',
      ]),
      '};',
      '',
      'export const ERROR_CODES = Object.keys(ERRORS) as readonly ErrorCode[];',
      '',
      'export function isErrorCode(code: string): code is ErrorCode {',
      '  return Object.hasOwn(ERRORS, code);',
      '}',
    ],
  );
}

function cpp(errors: readonly ErrorNotation[]): OutputFile {
  return generated(
    'native/gen/error_codes.h',
    'Codes of errors; the value of each is the exit code of a command that ends with it.',
    [
      '#pragma once',
      '',
      '#include <cstdint>',
      '',
      'namespace phos {',
      '',
      'enum class ErrorCode : std::uint8_t {',
      ...errors.map((e) => `  ${e.code.toLowerCase()} = ${e.exit},  // ${e.meaning}`),
      '};',
      '',
      '// The code as users and TypeScript know it.',
      'constexpr const char* error_code_name(ErrorCode code) noexcept {',
      '  switch (code) {',
      ...errors.map((e) => `    case ErrorCode::${e.code.toLowerCase()}: return "${e.code}";`),
      '  }',
      '  return "INTERNAL";',
      '}',
      '',
      'constexpr bool is_retryable(ErrorCode code) noexcept {',
      `  return ${
        errors
          .filter((e) => e.retryable)
          .map((e) => `code == ErrorCode::${e.code.toLowerCase()}`)
          .join(' || ') || 'false'
      };`,
      '}',
      '',
      '}  // namespace phos',
    ],
  );
}

function docs(errors: readonly ErrorNotation[]): OutputFile {
  return generated('docs/errors.md', '', [
    '',
    '# Errors',
    '',
    'Every failure of phos has one of these codes. A command prints the code with a message that',
    'says what was being done, to what, and what to do next, and ends with the exit code. With',
    '`--json` the same is printed as an object.',
    '',
    '| code | exit | try again | meaning | what to do |',
    '|---|---|---|---|---|',
    ...errors.map(
      (e) => `| ${e.code} | ${e.exit} | ${e.retryable ? 'yes' : 'no'} | ${e.meaning} | ${e.cure} |`,
    ),
    '',
    'A command that is stopped by a signal ends with 128 and the number of the signal (130 for',
    'Ctrl-C, 143 for SIGTERM). `phos run` ends as the program does: with its exit code, with 128+n',
    'when signal n killed it, and with 125 when phos itself failed.',
  ]);
}

export function emitErrorCodes(ir: Ir): readonly OutputFile[] {
  const { errors } = ir.notation;
  return [typescript(errors), cpp(errors), docs(errors)];
}
