// SPDX-License-Identifier: Apache-2.0
// What holds in every reachable state of a dump. Each names what it promises.
import type { DumpContext } from './dump-parts.ts';

const goesOn = (c: DumpContext): boolean => c.leaveRunning || c.gpuOnly;
const atCut = ['draining', 'snapshotting', 'disconnecting', 'cpuDumping'];
const putBack = ['rethawing', 'abortingSave', 'readmitting', 'reopeningLast', 'discarding'];

/** `state` is the name of the innermost state. */
export const dumpInvariants: Readonly<
  Record<string, (state: string, context: DumpContext) => boolean>
> = {
  'the tree is frozen only while no agent holds a socket': (_, c) =>
    c.tree !== 'frozen' || c.agents !== 'attached',
  'a pre-dump stops no process and lets no agent go': (_, c) =>
    !c.gpuOnly || (c.tree === 'running' && c.agents === 'attached' && !c.cpuSaved),
  'the gpu side is held only behind closed gates at a reached cut': (state, c) =>
    state !== 'snapshotting' || (c.gates === 'closed' && c.cuts !== null && c.drained),
  'gates stay closed from the cut until the cpu side is saved': (state, c) =>
    !atCut.includes(state) || c.gates === 'closed',
  'a program that goes on does so before the commit': (state, c) =>
    state !== 'committing' ||
    !goesOn(c) ||
    (c.tree === 'running' && c.agents === 'attached' && c.gates === 'open'),
  'a program that is to end stands still until the commit': (state, c) =>
    state !== 'committing' || goesOn(c) || (c.tree === 'frozen' && c.gates === 'closed'),
  'gates open before the commit only for a saved cpu side': (state, c) =>
    state !== 'opening' || c.gpuOnly || (c.cpuSaved && c.tree === 'running'),
  'gates open only over what was put aside or is saved': (state, c) =>
    state !== 'opening' || c.mayOpen || c.save === 'finished',
  'only a whole image is committed': (_, c) =>
    c.image !== 'committed' ||
    (c.save === 'finished' && (c.gpuOnly || c.cpuSaved) && c.cuts !== null),
  'success is told only when the image is committed': (state, c) =>
    state !== 'committed' || c.image === 'committed',
  'a failed dump leaves the program running, no save and no image': (state, c) =>
    state !== 'failed' ||
    c.unrepaired.length > 0 ||
    (c.tree === 'running' &&
      c.agents === 'attached' &&
      c.gates === 'open' &&
      c.save !== 'begun' &&
      c.image === 'absent'),
  'a failed dump says why': (state, c) => state !== 'failed' || c.failure !== null,
  'a committed dump never ends a tree that was to go on': (_, c) =>
    !(goesOn(c) && c.tree === 'ended'),
  'nothing is put back before the interrupted effect is at rest': (state, c) =>
    !putBack.includes(state) || c.settled,
  'a broken contract is never committed': (_, c) =>
    c.image !== 'committed' || c.maxStallMs === null || c.heldMs <= c.maxStallMs,
  'a spoiled cut is never committed': (_, c) => c.image !== 'committed' || !c.retracting,
  'cuts are bounded': (_, c) => c.attempt <= c.limits.maxCuts,
};
