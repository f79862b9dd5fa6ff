// SPDX-License-Identifier: Apache-2.0
// One dump, or one pre-dump.
//
// The gates of every client in the tree are closed and the heads are read: that is the cut. The
// executors run up to it while the program still runs; when they do not get there in time the
// gates open, and a later cut is tried. At the cut the executors hold the device side (a copy
// aside, or a hash, as planned). From then on its bytes stream out, and meanwhile the agents let go
// of their sockets, the tree is frozen and CRIU writes it. A program that goes on is let go as soon
// as both holds are over (in mode `stop`: when its last byte is down); one that is to end stands
// still. When the last byte of either side is down, the image is committed by a rename, and a tree
// that is to end is ended.
// A pre-dump has no CPU side: its gates open right after the hold.
//
// A write that nobody foresaw may spoil a cut while the program runs on. Then everything is taken
// back and done once more in mode `stop`.
// Whatever fails before the commit takes the abort path: the interrupted effects have to come to
// rest first, then the tree is thawed, saves are aborted, agents attach again, gates open and the
// partial image is removed; each of these is tried even when one before failed.
import { disconnectMs, type DumpContext, drainMs, dumpParts } from './dump-parts.ts';
import { backFrom, late, leaves, outputOf, repair, SETTLING, wholeContext } from './job-steps.ts';

export { dumpInvariants } from './dump-invariants.ts';

const SLOW = 'is the storage slow?';

export const dumpMachine = dumpParts.createMachine({
  id: 'dump',
  context: ({ input }) => ({
    ...input,
    clients: [],
    predicted: null,
    attempt: 0,
    cuts: null,
    gates: 'open',
    agents: 'attached',
    tree: 'running',
    image: 'absent',
    save: 'none',
    mayOpen: false,
    drained: false,
    cpuSaved: false,
    heldMs: 0,
    settled: false,
    waitingFor: null,
    missed: null,
    retracting: false,
    failure: null,
    unrepaired: [],
  }),
  initial: 'planning',
  // Told while a spoiled cut is taken back: there will be no second one.
  on: {
    'job.cancel': { guard: 'isRetracting', actions: 'noteCancelled' },
    'job.fail': {
      guard: 'isRetracting',
      actions: { type: 'noteFailure', params: ({ event }) => event.failure },
    },
  },
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
            target: 'snapshotting',
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
    snapshotting: {
      entry: 'beginSnapshot',
      invoke: {
        id: 'beginSave',
        src: 'beginSave',
        input: wholeContext,
        onDone: { target: 'streaming', actions: { type: 'noteHold', params: outputOf } },
        onError: backFrom('snapshot'),
      },
      after: { save: late('snapshot', (c: DumpContext) => c.limits.saveMs, SLOW) },
      on: leaves('snapshot'),
    },
    streaming: {
      invoke: {
        id: 'finishSave',
        src: 'finishSave',
        input: wholeContext,
        onDone: [
          {
            guard: { type: 'mayMiss', params: outputOf },
            target: SETTLING,
            actions: { type: 'noteMiss', params: outputOf },
          },
          {
            guard: { type: 'isMiss', params: outputOf },
            target: SETTLING,
            actions: { type: 'noteMissedAgain', params: outputOf },
          },
          { actions: { type: 'noteSave', params: 'finished' } },
        ],
        onError: backFrom('stream', SETTLING),
      },
      after: { save: late('stream', (c: DumpContext) => c.limits.saveMs, SLOW, SETTLING) },
      on: leaves('stream'),
      initial: 'choosing',
      states: {
        choosing: {
          always: [{ guard: 'isGpuOnly', target: 'holding' }, { target: 'disconnecting' }],
        },
        disconnecting: {
          entry: 'beginDisconnect',
          invoke: {
            id: 'disconnectAgents',
            src: 'disconnectAgents',
            input: wholeContext,
            onDone: 'cpuDumping',
            onError: backFrom('disconnect', SETTLING),
          },
          after: {
            disconnect: late('disconnect', disconnectMs, 'is the program stopped?', SETTLING),
          },
        },
        cpuDumping: {
          entry: 'beginFreeze',
          invoke: {
            id: 'dumpCpu',
            src: 'dumpCpu',
            input: wholeContext,
            onDone: [
              { guard: 'leavesRunning', target: 'thawing', actions: 'noteCpuSaved' },
              { target: 'awaiting', actions: 'noteCpuSaved' },
            ],
            onError: backFrom('cpu-dump', SETTLING),
          },
          after: {
            cpuDump: late('cpu-dump', (c: DumpContext) => c.limits.cpuDumpMs, SLOW, SETTLING),
          },
        },
        thawing: {
          invoke: {
            id: 'thawTree',
            src: 'thawTree',
            input: wholeContext,
            onDone: { target: 'reattaching', actions: { type: 'noteTree', params: 'running' } },
            onError: backFrom('thaw', SETTLING),
          },
          after: { thaw: late('thaw', (c: DumpContext) => c.limits.thawMs, SLOW, SETTLING) },
        },
        reattaching: {
          invoke: {
            id: 'reattachAgents',
            src: 'reattachAgents',
            input: wholeContext,
            onDone: { target: 'holding', actions: { type: 'noteAgents', params: 'attached' } },
            onError: backFrom('reattach', SETTLING),
          },
          after: {
            reattach: late(
              'reattach',
              (c: DumpContext) => c.limits.reattachMs,
              'the program does not come back to phosd; see its stderr under PHOS_LOG=debug',
              SETTLING,
            ),
          },
        },
        holding: { always: { guard: 'mayOpen', target: 'opening' } },
        opening: {
          invoke: {
            id: 'openGates',
            src: 'openGates',
            input: wholeContext,
            onDone: [
              {
                guard: { type: 'isOverrun', params: outputOf },
                target: SETTLING,
                actions: [
                  { type: 'noteOpened', params: outputOf },
                  { type: 'noteOverrun', params: outputOf },
                ],
              },
              { target: 'awaiting', actions: { type: 'noteOpened', params: outputOf } },
            ],
            onError: backFrom('open', SETTLING),
          },
          after: {
            gate: late('open', (c: DumpContext) => c.limits.gateMs, 'see phos ps', SETTLING),
          },
        },
        awaiting: { always: { guard: 'isSaved', target: '#committing' } },
      },
    },
    // The point of no return: the port either puts the image in its place for good or fails with
    // nothing in its place. A cancel that comes now is too late and changes nothing.
    committing: {
      id: 'committing',
      invoke: {
        id: 'commitImage',
        src: 'commitImage',
        input: wholeContext,
        onDone: [
          { guard: 'leavesRunning', target: 'committed', actions: 'noteCommitted' },
          { target: 'endingTree', actions: 'noteCommitted' },
        ],
        onError: backFrom('commit'),
      },
      after: { commit: late('commit', (c: DumpContext) => c.limits.commitMs, SLOW) },
    },
    endingTree: repair('endTree', 'end', 'committed', (c: DumpContext) => c.limits.endTreeMs, {
      done: { type: 'noteTree', params: 'ended' },
      failed: { type: 'noteTree', params: 'unknown' },
    }),
    // Interrupted effects may still be at work; nothing is put back under their hands.
    settling: {
      id: 'settling',
      ...repair('settle', 'settle', 'repairing', (c: DumpContext) => c.limits.settleMs, {
        done: { type: 'noteSettled' },
        failed: { type: 'noteSettled' },
      }),
    },
    repairing: {
      always: [
        { guard: 'isFrozen', target: 'rethawing' },
        { guard: 'isSaving', target: 'abortingSave' },
        { guard: 'isAway', target: 'readmitting' },
        { guard: 'isClosed', target: 'reopeningLast' },
        { guard: 'isPartial', target: 'discarding' },
        { guard: 'mayBeginAgain', target: 'cutting' },
        { target: 'failed', actions: 'noteStuck' },
      ],
    },
    rethawing: repair('thawTree', 'thaw', 'repairing', (c: DumpContext) => c.limits.thawMs, {
      done: { type: 'noteTree', params: 'running' },
      failed: { type: 'noteTree', params: 'unknown' },
    }),
    abortingSave: repair(
      'abortSave',
      'abortSave',
      'repairing',
      (c: DumpContext) => c.limits.settleMs,
      {
        done: { type: 'noteSave', params: 'none' },
        failed: { type: 'noteSave', params: 'unknown' },
      },
    ),
    readmitting: repair(
      'reattachAgents',
      'reattach',
      'repairing',
      (c: DumpContext) => c.limits.reattachMs,
      {
        done: { type: 'noteAgents', params: 'attached' },
        failed: { type: 'noteAgents', params: 'unknown' },
      },
    ),
    reopeningLast: repair('openGates', 'gate', 'repairing', (c: DumpContext) => c.limits.gateMs, {
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
