// SPDX-License-Identifier: Apache-2.0
// When are two states the same? When they differ only in the names of executors, which are never
// reused, or in the names of programs that are alike. Each state is hashed under every renaming of
// those, with executors numbered in the order in which they are met; the smallest hash stands for
// all. 53 bits: a million states collide with a probability of about 1 in 20 000, and a collision
// could only hide a state, never invent a violation.
import { abstractFailures, type LocalState } from './local.ts';
import type { ClientWorld, Effect, ExecutorWorld, JobWorld, Notice, SystemState } from './world.ts';

type Renaming = Readonly<Record<string, string>>;

/** A local state in which executors are holes, so that they can be numbered anew. */
interface Piece {
  readonly template: number;
  readonly executors: readonly string[];
}

/** Two 32-bit lanes that numbers are mixed into (multiplications as in MurmurHash). */
class Mixer {
  a = 0x2545f491;
  b = 0x41c6ce57;

  reset(): void {
    this.a = 0x2545f491;
    this.b = 0x41c6ce57;
  }

  add(value: number): void {
    this.a = Math.imul(this.a ^ value, 0x9e3779b1);
    this.a ^= this.a >>> 15;
    this.b = Math.imul(this.b ^ value, 0x5f356495);
    this.b ^= this.b >>> 13;
  }

  /** The same whatever the order in which several are added. */
  addSet(sums: { a: number; b: number }): void {
    this.add(sums.a);
    this.add(sums.b);
  }

  get value(): number {
    let a = Math.imul(this.a ^ (this.a >>> 16), 0x85ebca6b);
    let b = Math.imul(this.b ^ (this.b >>> 15), 0xc2b2ae35);
    a ^= Math.imul(b ^ (b >>> 13), 0x27d4eb2f);
    b ^= Math.imul(a ^ (a >>> 14), 0x165667b1);
    return 2 ** 32 * (b & 0x1fffff) + (a >>> 0);
  }
}

function sortedKeys(key: string, value: unknown): unknown {
  const plain = abstractFailures(key, value);
  if (typeof plain !== 'object' || plain === null) return plain;
  if (Array.isArray(plain)) return key === 'clients' ? [...(plain as string[])].sort() : plain;
  return Object.fromEntries(Object.entries(plain).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function rename(text: string, renaming: Renaming): string {
  return text.replace(/\bc[a-z]\b/g, (name) => renaming[name] ?? name);
}

export class Canon {
  readonly #renamings: readonly Renaming[];
  readonly #pieces: Map<LocalState, Piece>[];
  readonly #words = new Map<string, number>();
  readonly #mixer = new Mixer();
  readonly #part = new Mixer();
  readonly #numbers = new Map<string, number>();
  #renaming: Renaming = {};
  #index = 0;

  constructor(alike: readonly string[]) {
    const [first, second] = alike;
    const isPair = first !== undefined && second !== undefined;
    this.#renamings = isPair ? [{}, { [first]: second, [second]: first }] : [{}];
    this.#pieces = this.#renamings.map(() => new Map());
  }

  key(state: SystemState): number {
    let least = Number.MAX_SAFE_INTEGER;
    for (let index = 0; index < this.#renamings.length; index += 1) {
      this.#index = index;
      this.#renaming = this.#renamings[index] as Renaming;
      this.#numbers.clear();
      this.#mixer.reset();
      this.#write(state);
      least = Math.min(least, this.#mixer.value);
    }
    return least;
  }

  #word(text: string): number {
    let number = this.#words.get(text);
    if (number === undefined) {
      number = this.#words.size + 1;
      this.#words.set(text, number);
    }
    return number;
  }

  #executor(id: string): number {
    let number = this.#numbers.get(id);
    if (number === undefined) {
      number = this.#numbers.size + 1;
      this.#numbers.set(id, number);
    }
    return number;
  }

  #name(id: string): number {
    return this.#word(this.#renaming[id] ?? id);
  }

  #piece(local: LocalState): Piece {
    const pieces = this.#pieces[this.#index] as Map<LocalState, Piece>;
    const known = pieces.get(local);
    if (known !== undefined) return known;
    const renamed = JSON.parse(rename(JSON.stringify(local.context), this.#renaming)) as object;
    const text = `${local.machine.name} ${local.value} ${JSON.stringify(renamed, sortedKeys)}`;
    const executors: string[] = text.match(/\bx\d+\b/g) ?? [];
    const piece = { template: this.#word(text.replace(/\bx\d+\b/g, '?')), executors };
    pieces.set(local, piece);
    return piece;
  }

  #put(into: Mixer, local: LocalState | undefined): void {
    if (local === undefined) {
      into.add(0);
      return;
    }
    const piece = this.#piece(local);
    into.add(piece.template);
    for (const id of piece.executors) into.add(this.#executor(id));
  }

  #write(state: SystemState): void {
    const mixer = this.#mixer;
    const ids = Object.keys(state.clients);
    if (this.#index === 1) ids.reverse();
    mixer.add((state.phosd === 'up' ? 1 : 0) + (state.frozen ? 2 : 0));
    mixer.add(state.faults * 16 + state.crashes);
    this.#put(mixer, state.actors.get('node'));
    for (const id of ids) {
      this.#put(mixer, state.actors.get(`client:${id}`));
      this.#client(state.clients[id] as ClientWorld, state);
    }
    for (let device = 0; state.actors.has(`device:${device}`); device += 1) {
      this.#put(mixer, state.actors.get(`device:${device}`));
    }
    for (const [id, job] of Object.entries(state.jobs)) {
      mixer.add(this.#word(id));
      this.#put(mixer, state.actors.get(`job:${id}`));
      this.#job(job, ids);
    }
    this.#image(state, ids);
    for (const id of ids) {
      const seen = state.lostSight[id];
      mixer.add(seen === undefined ? 0 : this.#executor(seen));
    }
    for (const id of state.registry) mixer.add(this.#word(id));
    this.#executors(state);
    this.#pending(state.effects, state.notices);
  }

  #client(one: ClientWorld, state: SystemState): void {
    const mixer = this.#mixer;
    mixer.add(this.#word(one.process) * 64 + this.#word(one.agent));
    mixer.add(one.issued * 16 + Number(one.writing) + Number(one.invited) * 2);
    mixer.add(Number(one.served) * 2 + Number(one.gate === 'open'));
    const { sentTo } = one;
    const isThere = sentTo !== null && state.executors[sentTo] !== undefined;
    mixer.add(isThere ? this.#executor(sentTo) : 0);
  }

  #job(job: JobWorld, ids: readonly string[]): void {
    const mixer = this.#mixer;
    mixer.add(this.#word(job.outcome ?? '-'));
    mixer.add(this.#word(job.told) * 2 + Number(job.unrepaired));
    for (const id of ids) mixer.add((job.cuts[id] ?? -1) * 2 + Number(job.moved.includes(id)));
    for (const id of job.moved) if (id.startsWith('x')) mixer.add(this.#executor(id));
  }

  #image(state: SystemState, ids: readonly string[]): void {
    const { place, cuts, gpu, cpu } = state.image;
    this.#mixer.add(this.#word(place));
    for (const id of ids) {
      this.#mixer.add((cuts[id] ?? 31) + (gpu[id] ?? 31) * 32 + (cpu[id] ?? 31) * 1024);
    }
  }

  /** Those that were not met yet are alike but for their own state; their order does not count. */
  #executors(state: SystemState): void {
    const sum = { a: 0, b: 0 };
    const known = Object.entries(state.executors).map(
      ([id, one]) => [this.#numbers.get(id) ?? 0, id, one] as const,
    );
    for (const [number, id, one] of known) {
      const part = this.#part;
      part.reset();
      part.add(number);
      const local = state.actors.get(`executor:${id}`);
      part.add(local === undefined ? 0 : this.#piece(local).template);
      part.add(state.notices.some((notice) => notice.id === id) ? 1 : 0);
      this.#executorWorld(part, one);
      sum.a = (sum.a + part.a) | 0;
      sum.b = (sum.b + part.b) | 0;
    }
    this.#mixer.addSet(sum);
  }

  #executorWorld(part: Mixer, one: ExecutorWorld): void {
    part.add(this.#word(one.process) * 4 + one.ordinal);
    part.add(one.client === null ? 0 : this.#name(one.client));
    part.add(one.tail * 64 + (one.limit ?? 31) * 2 + Number(one.ring));
    part.add(one.loads * 4 + Number(one.memory === 'in') * 2 + Number(one.isToldLeaked));
  }

  #pending(effects: readonly Effect[], notices: readonly Notice[]): void {
    const sum = { a: 0, b: 0 };
    const part = this.#part;
    const add = (): void => {
      sum.a = (sum.a + part.a) | 0;
      sum.b = (sum.b + part.b) | 0;
    };
    for (const one of effects) {
      part.reset();
      this.#actor(part, one.actor);
      part.add(this.#word(one.src) * 64 + one.pc);
      part.add(Number(one.failed) * 4 + Number(one.isHung) * 2 + Number(one.orphan));
      add();
    }
    for (const one of notices) {
      part.reset();
      part.add(this.#word(one.type));
      part.add(one.to === 'executor' ? (this.#numbers.get(one.id) ?? 0) : this.#name(one.id));
      add();
    }
    this.#mixer.addSet(sum);
  }

  #actor(part: Mixer, key: string): void {
    const colon = key.indexOf(':');
    const id = key.slice(colon + 1);
    if (key.startsWith('executor:')) part.add(this.#numbers.get(id) ?? 0);
    else part.add(key.startsWith('client:') ? this.#name(id) : this.#word(key));
  }
}
