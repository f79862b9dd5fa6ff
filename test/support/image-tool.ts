// SPDX-License-Identifier: Apache-2.0
// Folders with device state of made-up memory, written by the native writer (bench/native).
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { nativeUrl } from '../../src/model/locate.ts';

const run = promisify(execFile);
const TOOL_MS = 60_000;

export type ToolSettings = Readonly<Record<string, string | number>>;
export type ToolResult = Readonly<Record<string, number>>;

/** Runs image_tool; its numbers, or an error with what it said. */
export async function imageTool(
  command: 'write' | 'read',
  folder: string,
  settings: ToolSettings = {},
): Promise<ToolResult> {
  const program = fileURLToPath(
    nativeUrl('bench/image_tool', process.env['PHOS_BUILD_DIR'] ?? null),
  );
  const words = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
  const { stdout } = await run(program, [command, folder, ...words], { timeout: TOOL_MS });
  return JSON.parse(stdout) as ToolResult;
}
