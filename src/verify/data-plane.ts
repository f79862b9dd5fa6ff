// SPDX-License-Identifier: Apache-2.0
// The data plane at the granularity of words: two producers under one lock, a ring with its gate,
// the consumer, a cut with copy-on-write, and a lazy restore, in all interleavings. Chunks have two
// words, so that a torn copy shows. It is small enough to be explored to the end in a moment. (That
// the gate is looked at under the lock is not among the rules: the consumer's limit alone keeps
// what slips through behind the cut.)

export const CHUNKS = 4;
const WORDS = 2;
/** Chunk that each command of each producer writes. */
export const program: readonly (readonly number[])[] = [
  [0, 1],
  [1, 3],
];

/** Rules that can be taken away, to see that each is needed. */
export const dataRules = [
  'a record is written before head is published',
  'producers take the lock',
  'the consumer stops at the cut',
  'a chunk is saved before it is overwritten',
  'a chunk is saved as a whole',
  'a chunk is loaded before it is touched',
  'a chunk is loaded once',
  'the executor goes on at the cut',
] as const;
export type DataRule = (typeof dataRules)[number];

interface Producer {
  readonly pc: 'idle' | 'locked' | 'passed' | 'written' | 'published';
  readonly done: number;
}
type Memory = readonly (readonly number[])[];
interface Plane {
  readonly phase: 'run' | 'closing' | 'draining' | 'copying' | 'saved' | 'restored';
  readonly lock: number | null;
  readonly gate: boolean;
  readonly producers: readonly Producer[];
  /** Records: the producer's number and the chunk, or null where nothing was written yet. */
  readonly slots: readonly (readonly [number, number] | null)[];
  readonly head: number;
  readonly tail: number;
  readonly limit: number | null;
  readonly cut: number;
  /** Words of the command under way that are written. */
  readonly written: number;
  readonly memory: Memory;
  /** Words of each chunk that are in the image. */
  readonly copied: readonly number[];
  readonly image: Memory;
  readonly loaded: readonly boolean[];
}

const blank: Memory = Array.from({ length: CHUNKS }, () => [0, 0]);
const start: Plane = {
  phase: 'run',
  lock: null,
  gate: false,
  producers: program.map(() => ({ pc: 'idle', done: 0 })),
  slots: [],
  head: 0,
  tail: 0,
  limit: null,
  cut: 0,
  written: 0,
  memory: blank,
  copied: [0, 0, 0, 0],
  image: blank,
  loaded: [true, true, true, true],
};

function setAt<T>(list: readonly T[], at: number, value: T): T[] {
  const copy = [...list];
  copy[at] = value;
  return copy;
}
function setWord(memory: Memory, chunk: number, word: number, value: number): Memory {
  return setAt(memory, chunk, setAt(memory[chunk] ?? [], word, value));
}

/** What memory holds after the first `count` records. */
function after(plane: Plane, count: number): Memory {
  return plane.slots.slice(0, count).reduce<Memory>((memory, slot, at) => {
    const chunk = slot?.[1] ?? 0;
    return setAt(memory, chunk, Array<number>(WORDS).fill(at + 1));
  }, blank);
}

type Next = readonly [label: string, plane: Plane];

function produce(plane: Plane, id: number, without: DataRule | null): Next[] {
  const mine = plane.producers[id] as Producer;
  const become = (pc: Producer['pc'], change: Partial<Plane> = {}, done = mine.done): Plane => ({
    ...plane,
    ...change,
    producers: setAt(plane.producers, id, { pc, done }),
  });
  const takesLock = without !== 'producers take the lock';
  const label = `producer ${id}`;
  switch (mine.pc) {
    case 'idle': {
      if (mine.done === (program[id] as readonly number[]).length) return [];
      if (takesLock && plane.lock !== null) return [];
      return [[`${label} locks`, become('locked', takesLock ? { lock: id } : {})]];
    }
    case 'locked': {
      if (plane.gate) return [[`${label} waits`, become('idle', { lock: null })]];
      return [[`${label} passes the gate`, become('passed')]];
    }
    case 'passed': {
      const chunk = program[id]?.[mine.done] ?? 0;
      if (without === 'a record is written before head is published') {
        return [[`${label} publishes`, become('written', { head: plane.head + 1 })]];
      }
      const slots = setAt(plane.slots, plane.head, [id, chunk] as const);
      return [[`${label} writes its record`, become('written', { slots })]];
    }
    case 'written': {
      if (without === 'a record is written before head is published') {
        const slots = setAt(plane.slots, plane.head - 1, [
          id,
          program[id]?.[mine.done] ?? 0,
        ] as const);
        return [[`${label} writes its record`, become('published', { slots })]];
      }
      return [[`${label} publishes`, become('published', { head: plane.head + 1 })]];
    }
    case 'published':
      return [[`${label} unlocks`, become('idle', { lock: null }, mine.done + 1)]];
  }
}

function consume(plane: Plane, without: DataRule | null): Next[] {
  if (plane.tail >= plane.head) return [];
  if (plane.limit !== null && plane.tail >= plane.limit) return [];
  const chunk = plane.slots[plane.tail]?.[1] ?? 0;
  const isOpen = plane.phase === 'copying' && (plane.copied[chunk] ?? 0) < WORDS;
  if (isOpen && without !== 'a chunk is saved before it is overwritten') return [];
  if (plane.loaded[chunk] === false && without !== 'a chunk is loaded before it is touched') {
    return [[`a touch loads chunk ${chunk}`, load(plane, chunk)]];
  }
  const memory = setWord(plane.memory, chunk, plane.written, plane.tail + 1);
  const isLast = plane.written === WORDS - 1;
  const moved = isLast ? { tail: plane.tail + 1, written: 0 } : { written: plane.written + 1 };
  return [
    [`the consumer writes word ${plane.written} of ${chunk}`, { ...plane, memory, ...moved }],
  ];
}

function load(plane: Plane, chunk: number): Plane {
  const memory = setAt(plane.memory, chunk, plane.image[chunk] ?? []);
  return { ...plane, memory, loaded: setAt(plane.loaded, chunk, true) };
}

function copy(plane: Plane, without: DataRule | null): Next[] {
  const next = plane.copied.flatMap((words, chunk): Next[] => {
    if (words === WORDS) return [];
    const whole = without === 'a chunk is saved as a whole' ? 1 : 0;
    // The last word is declared saved before it is, when that rule is taken away.
    const isFalse = whole === 1 && words === WORDS - 1;
    const value = plane.memory[chunk]?.[words] ?? 0;
    const image = isFalse ? plane.image : setWord(plane.image, chunk, words, value);
    const copied = setAt(plane.copied, chunk, words + 1);
    return [[`word ${words} of chunk ${chunk} is saved`, { ...plane, image, copied }]];
  });
  return next.length > 0 ? next : [['everything is saved', { ...plane, phase: 'saved' }]];
}

/** A copy of everything but device memory comes back; that is loaded as it is touched. */
function restore(plane: Plane, without: DataRule | null): Plane {
  const tail = without === 'the executor goes on at the cut' ? plane.tail : plane.cut;
  return {
    ...plane,
    phase: 'restored',
    tail,
    written: 0,
    limit: null,
    gate: false,
    memory: blank,
    loaded: plane.loaded.map(() => false),
  };
}

function checkpoint(plane: Plane, without: DataRule | null): Next[] {
  switch (plane.phase) {
    case 'run':
      return [['the gate closes', { ...plane, gate: true, phase: 'closing' }]];
    case 'closing': {
      const limit = without === 'the consumer stops at the cut' ? null : plane.head;
      const cut = { cut: plane.head, limit, phase: 'draining' as const };
      return [[`the cut is at ${plane.head}`, { ...plane, ...cut }]];
    }
    case 'draining':
      if (plane.tail < plane.cut || plane.written > 0) return [];
      return [['the gate opens', { ...plane, gate: false, limit: null, phase: 'copying' }]];
    case 'copying':
      return copy(plane, without);
    case 'saved':
      return [['it is restored', restore(plane, without)]];
    case 'restored':
      return plane.loaded.flatMap((isLoaded, chunk): Next[] => {
        const again = without === 'a chunk is loaded once' && plane.tail > plane.cut;
        if (isLoaded && !again) return [];
        return [[`chunk ${chunk} is loaded`, load(plane, chunk)]];
      });
  }
}

/** Restored, and every command of every producer ran. */
function isOver(plane: Plane): boolean {
  const isIdle = plane.producers.every(
    ({ pc, done }, id) => pc === 'idle' && done === (program[id] as readonly number[]).length,
  );
  const isDone = isIdle && plane.head === program.flat().length && plane.tail === plane.head;
  return plane.phase === 'restored' && isDone && plane.loaded.every(Boolean);
}

function wrong(plane: Plane, isEnd: boolean): string | null {
  const text = (memory: Memory) => JSON.stringify(memory);
  const isSaved = plane.phase === 'saved' || plane.phase === 'restored';
  if (isSaved && text(plane.image) !== text(after(plane, plane.cut))) {
    return 'the image is memory at the cut';
  }
  for (let at = 0; at < plane.head; at += 1) {
    if (plane.slots[at] === undefined) return 'a published record is whole';
  }
  if (!isEnd) return null;
  return text(plane.memory) === text(after(plane, plane.head))
    ? null
    : 'memory is what commands made';
}

export interface DataPlaneRun {
  readonly states: number;
  readonly ends: number;
  readonly broken: string | null;
  readonly trace: readonly string[];
}

/** Explores everything; stops at the first state in which something is wrong. */
export function exploreDataPlane(without: DataRule | null, maxStates = 500_000): DataPlaneRun {
  const seen = new Map<string, number>();
  const queue: Plane[] = [start];
  const ways: (readonly [from: number, label: string])[] = [[-1, 'start']];
  seen.set(JSON.stringify(start), 0);
  let ends = 0;
  for (let at = 0; at < queue.length && queue.length <= maxStates; at += 1) {
    const plane = queue[at] as Plane;
    const next = [
      ...plane.producers.flatMap((_, id) => produce(plane, id, without)),
      ...consume(plane, without),
      ...checkpoint(plane, without),
    ].filter(([, to]) => to !== plane);
    const isEnd = isOver(plane);
    if (isEnd) ends += 1;
    const broken = wrong(plane, isEnd) ?? (next.length === 0 && !isEnd ? 'nobody is stuck' : null);
    if (broken !== null) return { states: seen.size, ends, broken, trace: wayTo(ways, at) };
    for (const [label, to] of next) {
      const key = JSON.stringify(to);
      if (seen.has(key)) continue;
      seen.set(key, queue.length);
      queue.push(to);
      ways.push([at, label]);
    }
  }
  const broken = queue.length > maxStates ? 'the bound of states was hit' : null;
  return { states: seen.size, ends, broken, trace: [] };
}

function wayTo(ways: readonly (readonly [number, string])[], index: number): string[] {
  const labels: string[] = [];
  for (let at = index; at > 0; at = ways[at]?.[0] ?? 0) labels.push(ways[at]?.[1] ?? '');
  return labels.reverse();
}
