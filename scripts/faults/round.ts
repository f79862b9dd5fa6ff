// SPDX-License-Identifier: Apache-2.0
// One fault in one run of the real thing: a program runs, it is dumped, restored or suspended while
// the fault waits at its point, and then everything is looked at.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ERRORS } from '../../src/gen/error-codes.ts';
import { StepCounter } from '../demo/counter.ts';
import { leftovers } from '../lib/leftovers.ts';
import { buildDir, PrivatePhos, type Started } from '../lib/private-phos.ts';
import { type FaultKind, type FaultPoint, nameOf } from './points.ts';

const STEP_MS = 120_000;
// It rests between its steps, so that the machine is left to what is looked at.
const steps = ['--steps', '100000', '--mib', '2', '--pause-ms', '20'];
const program = [join(buildDir, 'examples/steps/steps'), ...steps];

export interface RoundResult {
  readonly fault: string;
  /** How the operation ended: done, or the code of its error. */
  readonly outcome: string;
  /** What became of the program. */
  readonly program: string;
  readonly image: string;
  /** Empty when all is as promised. */
  readonly problems: readonly string[];
  readonly seconds: number;
}

interface Listed {
  readonly runs: readonly { readonly jobId: string; readonly pid: number }[];
  readonly clients: readonly { readonly pid: number; readonly state: string }[];
}

/** A program in the foreground of a command, and how far it is. */
interface Followed {
  readonly started: Started;
  readonly counter: StepCounter;
  over: number | null;
}

export class Round {
  readonly #phos = new PrivatePhos();
  readonly #point: FaultPoint;
  readonly #kind: FaultKind;
  readonly #problems: string[] = [];
  readonly #jobs = new Set<string>();
  readonly #image = join(this.#phos.folder, 'image');
  readonly #mark = join(this.#phos.folder, 'mark');

  constructor(point: FaultPoint, kind: FaultKind) {
    this.#point = point;
    this.#kind = kind;
  }

  async run(): Promise<RoundResult> {
    const begun = performance.now();
    let outcome = 'not reached';
    let end = '';
    try {
      const rules = [`${this.#point.name}:1:${this.#kind}`, this.#point.trigger ?? ''];
      const PHOS_FAULT = rules.filter(Boolean).join(',');
      await this.#start({ PHOS_FAULT, PHOS_FAULT_MARK: this.#mark });
      const followed = await this.#follow(['run', '--', ...program]);
      const { pid } = await this.#only();
      ({ outcome, end } = await this.#operate(pid, followed));
      const reached = existsSync(this.#mark) ? readFileSync(this.#mark, 'utf8').split('\n') : [];
      if (!reached.includes(this.#point.name)) this.#problems.push('the fault was not reached');
      await this.#lookAtImage();
    } catch (thrown) {
      this.#problems.push(thrown instanceof Error ? thrown.message : String(thrown));
    } finally {
      await this.#close();
    }
    return {
      fault: nameOf(this.#point, this.#kind),
      outcome,
      program: end,
      image: this.#imageState,
      problems: this.#problems,
      seconds: Math.round((performance.now() - begun) / 100) / 10,
    };
  }

  #imageState = 'absent';

  async #start(env: Readonly<Record<string, string>> = {}): Promise<void> {
    const { code, stderr } = await this.#phos.command(['start'], { timeoutMs: STEP_MS, env }).ended;
    if (code !== 0) throw new Error(`phos start ended with ${code}: ${stderr.trim()}`);
  }

  async #follow(args: readonly string[]): Promise<Followed> {
    const counter = new StepCounter();
    const options = { timeoutMs: 600_000, onErrorLine: counter.take };
    const followed: Followed = { started: this.#phos.command(args, options), counter, over: null };
    followed.started.ended.then(
      ({ code }) => {
        followed.over = code;
      },
      () => undefined,
    );
    await this.#until(() => counter.latest >= 3 || followed.over !== null, 'the program begins');
    return followed;
  }

  async #only(): Promise<{ readonly pid: number; readonly state: string }> {
    const { runs, clients } = await this.#phos.json<Listed>(['ps'], STEP_MS);
    for (const { jobId } of runs) this.#jobs.add(jobId);
    const [client] = clients;
    if (client === undefined) throw new Error('phos ps lists no client');
    return client;
  }

  async #until(holds: () => boolean, what: string): Promise<void> {
    const end = performance.now() + STEP_MS;
    while (!holds()) {
      if (performance.now() > end) throw new Error(`within ${STEP_MS} ms not: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** A command that may fail, with a typed error only. */
  async #try(args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.#phos.command([...args, '--json'], {
      timeoutMs: STEP_MS,
    }).ended;
    if (code === 0) return 'done';
    const known = Object.entries(ERRORS).find(([, one]) => one.exitCode === code);
    const name = known?.[0] ?? `exit ${code}`;
    if (known === undefined || name === 'INTERNAL') {
      this.#problems.push(`phos ${args[0]} ended with ${name}: ${(stdout + stderr).trim()}`);
    }
    return name;
  }

  async #operate(pid: number, followed: Followed): Promise<{ outcome: string; end: string }> {
    const target = String(pid);
    switch (this.#point.operation) {
      case 'dump': {
        const args = ['dump', target, '--dir', this.#image, '--leave-running', '--quiet'];
        // The tree is ended only without --leave-running, and only after the commit.
        const isEnd = this.#point.name.startsWith('dump.endTree');
        const outcome = await this.#try(
          isEnd ? args.filter((one) => !one.startsWith('--leave')) : args,
        );
        await this.#comeBack();
        return { outcome, end: await this.#goesOn(followed) };
      }
      case 'suspend': {
        const outcome = await this.#try(['suspend', target, '--quiet']);
        await this.#comeBack();
        const second = await this.#try(['resume', target, '--quiet']);
        await this.#comeBack();
        await this.#try(['resume', target, '--quiet']);
        return { outcome: `${outcome}, ${second}`, end: await this.#goesOn(followed) };
      }
      case 'restore': {
        await this.#try(['dump', target, '--dir', this.#image, '--quiet']);
        const outcome = await this.#restore();
        return outcome;
      }
    }
  }

  /** The first may fail; then the image must do for a second one. */
  async #restore(): Promise<{ outcome: string; end: string }> {
    const first = await this.#follow(['restore', this.#image, '--quiet']);
    let outcome = 'done';
    if (first.over !== null) {
      const { over } = first;
      const known = Object.entries(ERRORS).find(([, one]) => one.exitCode === over);
      outcome = known?.[0] ?? `exit ${over}`;
      if (known === undefined) this.#problems.push(`phos restore ended with ${over}`);
    }
    await this.#comeBack();
    if (outcome === 'done') return { outcome, end: await this.#goesOn(first) };
    const again = await this.#follow(['restore', this.#image, '--quiet']);
    if (again.over !== null) {
      const { stderr } = await again.started.ended;
      this.#problems.push(`restored again, it ended with ${again.over}: ${stderr.slice(-500)}`);
    }
    await this.#only().catch(() => undefined);
    return { outcome, end: await this.#goesOn(again) };
  }

  /** Starts phosd again where the fault has killed it. */
  async #comeBack(): Promise<void> {
    if (this.#kind !== 'crash' || this.#point.process !== 'phosd') return;
    const { code } = await this.#phos.command(['status'], { timeoutMs: STEP_MS }).ended;
    if (code !== 0) await this.#start();
  }

  /** Some steps more, or an end in bounded time when its executor was killed. */
  async #goesOn(followed: Followed): Promise<string> {
    const at = followed.counter.latest;
    const isOver = (): boolean => followed.over !== null || followed.counter.latest >= at + 3;
    await this.#until(isOver, 'the program goes on, or ends');
    if (followed.over === null) return 'goes on';
    const isExpected =
      (this.#point.process === 'executor' && this.#kind === 'crash') ||
      this.#point.name.startsWith('dump.endTree');
    if (!isExpected) this.#problems.push(`the program ended with ${followed.over}`);
    return `ended with ${followed.over}`;
  }

  async #lookAtImage(): Promise<void> {
    const left = readdirSync(this.#phos.folder).filter((name) => name.startsWith('image'));
    for (const name of left) if (name !== 'image') this.#problems.push(`${name} was left behind`);
    if (!existsSync(this.#image)) return;
    const { code, stderr } = await this.#phos.command(['image', 'verify', this.#image], {
      timeoutMs: STEP_MS,
    }).ended;
    this.#imageState = code === 0 ? 'whole' : 'damaged';
    if (code !== 0) this.#problems.push(`the image is not whole: ${stderr.trim()}`);
  }

  async #close(): Promise<void> {
    const stop = await this.#phos.command(['stop', '--force'], { timeoutMs: STEP_MS }).ended;
    if (stop.code !== 0 && stop.code !== ERRORS.UNAVAILABLE.exitCode) {
      this.#problems.push(`phos stop ended with ${stop.code}: ${stop.stderr.trim()}`);
    }
    this.#problems.push(...leftovers(this.#phos.folder, this.#jobs));
    if (process.env['PHOS_FAULTS_VERBOSE'] !== undefined && this.#problems.length > 0)
      this.#tellLog();
    try {
      await this.#phos.close();
    } catch (thrown) {
      this.#problems.push(thrown instanceof Error ? thrown.message : String(thrown));
    }
  }

  #tellLog(): void {
    const path = join(this.#phos.folder, 'log', 'phosd.log');
    if (existsSync(path)) process.stderr.write(readFileSync(path, 'utf8').slice(-6000));
  }
}
