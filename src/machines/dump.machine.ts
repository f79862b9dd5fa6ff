// SPDX-License-Identifier: Apache-2.0
// One dump, in mode `stop`.
//
// The gates of every client in the tree are closed and the heads are read: that is the cut. The
// executors run up to it while the program still runs; when they do not get there in time the
// gates open, and a later cut is tried. Then the GPU side is saved, the agents let go of their
// sockets, the tree is frozen and CRIU writes it, and the image is committed by a rename.
// After the commit the tree is ended, or let go on. Whatever fails before it takes the abort path:
// the interrupted effect has to come to rest first, then the tree is thawed, agents attach again,
// gates open and the partial image is removed; each of these is tried even when one before failed.
import { type DumpContext, disconnectMs, drainMs, dumpParts } from './dump-parts.ts';
import { backFrom, late, leaves, outputOf, repair, wholeContext } from './job-steps.ts';

export const dumpMachine = dumpParts.createMachine({
  id: 'dump',
  context: ({ input }) => ({
    ...input,
    clients: [],
    attempt: 0,
    cuts: null,
    gates: 'open',
    agents: 'attached',
    tree: 'running',
    image: 'absent',
    drained: false,
    gpuSaved: false,
    cpuSaved: false,
    settled: false,
    waitingFor: null,
    failure: null,
    unrepaired: [],
  }),
  initial: 'planning',
  states: {
    planning: {
      invoke: {
        id: 'planDump',
        src: 'planDump',
        input: wholeContext,
        onDone: { target: 'cutting', actions: { type: 'notePlan', params: outputOf } },
        onError: backFrom('plan'),
      },
      after: {
        plan: late('plan', (c: DumpContext) => c.limits.planMs, 'look at the log of phosd'),
      },
      on: leaves('plan'),
    },
    cutting: {
      entry: 'beginCut',
      invoke: {
        id: 'closeGates',
        src: 'closeGates',
        input: wholeContext,
        onDone: { target: 'draining', actions: { type: 'noteCuts', params: outputOf } },
        onError: backFrom('cut'),
      },
      after: {
        gate: late(
          'cut',
          (c: DumpContext) => c.limits.gateMs,
          'is the executor alive? see phos ps',
        ),
      },
      on: leaves('cut'),
    },
    draining: {
      invoke: {
        id: 'drainToCuts',
        src: 'drainToCuts',
        input: wholeContext,
        onDone: [
          {
            guard: { type: 'hasReached', params: outputOf },
            target: 'saving',
            actions: 'noteDrained',
          },
          {
            guard: 'hasCutsLeft',
            target: 'reopening',
            actions: { type: 'noteWaiting', params: outputOf },
          },
          {
            target: 'settling',
            actions: [{ type: 'noteWaiting', params: outputOf }, 'noteNeverDrained'],
          },
        ],
        onError: backFrom('drain'),
      },
      after: { drain: late('drain', drainMs, 'the executor does not answer; see phos ps') },
      on: leaves('drain'),
    },
    reopening: {
      invoke: {
        id: 'reopenGates',
        src: 'openGates',
        input: wholeContext,
        onDone: { target: 'backingOff', actions: { type: 'noteGates', params: 'open' } },
        onError: backFrom('reopen'),
      },
      after: { gate: late('reopen', (c: DumpContext) => c.limits.gateMs, 'see phos ps') },
      on: leaves('reopen'),
    },
    backingOff: { after: { backoff: 'cutting' }, on: leaves('reopen') },
    saving: {
      entry: 'beginSave',
      invoke: {
        id: 'saveGpu',
        src: 'saveGpu',
        input: wholeContext,
        onDone: { target: 'disconnecting', actions: 'noteGpuSaved' },
        onError: backFrom('save'),
      },
      after: { save: late('save', (c: DumpContext) => c.limits.saveMs, 'is the storage slow?') },
      on: leaves('save'),
    },
    disconnecting: {
      entry: 'beginDisconnect',
      invoke: {
        id: 'disconnectAgents',
        src: 'disconnectAgents',
        input: wholeContext,
        onDone: 'cpuDumping',
        onError: backFrom('disconnect'),
      },
      after: { disconnect: late('disconnect', disconnectMs, 'is the program stopped?') },
      on: leaves('disconnect'),
    },
    cpuDumping: {
      entry: 'beginFreeze',
      invoke: {
        id: 'dumpCpu',
        src: 'dumpCpu',
        input: wholeContext,
        onDone: { target: 'committing', actions: 'noteCpuSaved' },
        onError: backFrom('cpu-dump'),
      },
      after: {
        cpuDump: late('cpu-dump', (c: DumpContext) => c.limits.cpuDumpMs, 'is the storage slow?'),
      },
      on: leaves('cpu-dump'),
    },
    // The point of no return: the port either puts the image in its place for good or fails with
    // nothing in its place. A cancel that comes now is too late and changes nothing.
    committing: {
      invoke: {
        id: 'commitImage',
        src: 'commitImage',
        input: wholeContext,
        onDone: [
          { guard: 'leavesRunning', target: 'repairing', actions: 'noteCommitted' },
          { target: 'endingTree', actions: 'noteCommitted' },
        ],
        onError: backFrom('commit'),
      },
      after: {
        commit: late('commit', (c: DumpContext) => c.limits.commitMs, 'is the storage slow?'),
      },
    },
    endingTree: repair('endTree', 'end', 'committed', (c: DumpContext) => c.limits.endTreeMs, {
      done: { type: 'noteTree', params: 'ended' },
      failed: { type: 'noteTree', params: 'unknown' },
    }),
    // An interrupted effect may still be at work; nothing is put back under its hands.
    settling: repair('settle', 'settle', 'repairing', (c: DumpContext) => c.limits.settleMs, {
      done: { type: 'noteSettled' },
      failed: { type: 'noteSettled' },
    }),
    repairing: {
      always: [
        { guard: 'isFrozen', target: 'thawing' },
        { guard: 'isAway', target: 'reattaching' },
        { guard: 'isClosed', target: 'opening' },
        { guard: 'isPartial', target: 'discarding' },
        { guard: 'isCommitted', target: 'committed' },
        { target: 'failed' },
      ],
    },
    thawing: repair('thawTree', 'thaw', 'repairing', (c: DumpContext) => c.limits.thawMs, {
      done: { type: 'noteTree', params: 'running' },
      failed: { type: 'noteTree', params: 'unknown' },
    }),
    reattaching: repair(
      'reattachAgents',
      'reattach',
      'repairing',
      (c: DumpContext) => c.limits.reattachMs,
      {
        done: { type: 'noteAgents', params: 'attached' },
        failed: { type: 'noteAgents', params: 'unknown' },
      },
    ),
    opening: repair('openGates', 'gate', 'repairing', (c: DumpContext) => c.limits.gateMs, {
      done: { type: 'noteGates', params: 'open' },
      failed: { type: 'noteGates', params: 'unknown' },
    }),
    discarding: repair(
      'discardImage',
      'discard',
      'repairing',
      (c: DumpContext) => c.limits.discardMs,
      {
        done: { type: 'noteImage', params: 'absent' },
        failed: { type: 'noteImage', params: 'unknown' },
      },
    ),
    committed: { type: 'final', entry: 'tellDone' },
    failed: { type: 'final', entry: 'tellFailed' },
  },
});

/** What holds in every reachable state. Each names what it promises. */
export const dumpInvariants: Readonly<
  Record<string, (state: string, context: DumpContext) => boolean>
> = {
  'the tree is frozen only while no agent holds a socket': (_, c) =>
    c.tree !== 'frozen' || c.agents !== 'attached',
  'the gpu side is saved only behind closed gates at a reached cut': (state, c) =>
    state !== 'saving' || (c.gates === 'closed' && c.cuts !== null && c.drained),
  'gates stay closed from the cut to the commit': (state, c) =>
    !['draining', 'saving', 'disconnecting', 'cpuDumping', 'committing'].includes(state) ||
    c.gates === 'closed',
  'only a whole image is committed': (_, c) =>
    c.image !== 'committed' || (c.gpuSaved && c.cpuSaved && c.cuts !== null),
  'success is told only when the image is committed': (state, c) =>
    state !== 'committed' || c.image === 'committed',
  'a failed dump leaves the program running and no image': (state, c) =>
    state !== 'failed' ||
    c.unrepaired.length > 0 ||
    (c.tree === 'running' && c.agents === 'attached' && c.gates === 'open' && c.image === 'absent'),
  'a failed dump says why': (state, c) => state !== 'failed' || c.failure !== null,
  'a committed dump never ends a tree that was to go on': (_, c) =>
    !(c.leaveRunning && c.tree === 'ended'),
  'nothing is put back before the interrupted effect is at rest': (state, c) =>
    !['thawing', 'reattaching', 'opening', 'discarding'].includes(state) ||
    c.settled ||
    c.image === 'committed',
  'cuts are bounded': (_, c) => c.attempt <= c.limits.maxCuts,
};
