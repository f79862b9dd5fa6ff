// SPDX-License-Identifier: Apache-2.0
// A reporter for vitest that writes a JSON line for every test as it begins and ends, so that a run
// that is ended in the middle has told what it knows. test-report.mjs reads it.

import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

export default class LinesReporter {
  #path = '';

  onInit() {
    const folder = process.env['PHOS_TEST_REPORTS'];
    if (folder === undefined) throw new Error('PHOS_TEST_REPORTS must name a folder');
    mkdirSync(folder, { recursive: true });
    this.#path = join(folder, 'vitest.jsonl');
  }

  onTestCaseReady(test) {
    this.#tell(test.id, nameOf(test), 'running', []);
  }

  onTestCaseResult(test) {
    const { state, errors } = test.result();
    this.#tell(test.id, nameOf(test), state, errors ?? []);
  }

  /** What fails outside of tests: an import, a hook of the file. */
  onTestModuleEnd(file) {
    const errors = file.errors();
    if (errors.length > 0) this.#tell(file.id, file.relativeModuleId, 'failed', errors);
  }

  onTestRunEnd(_files, errors) {
    if (errors.length > 0) this.#tell('', 'outside of every test', 'failed', errors);
  }

  #tell(id, name, state, errors) {
    const error = errors.map((one) => one.stack ?? one.message).join('\n');
    appendFileSync(this.#path, `${JSON.stringify({ id, name, state, error })}\n`);
  }
}

function nameOf(test) {
  return `${test.module.relativeModuleId} > ${test.fullName}`;
}
