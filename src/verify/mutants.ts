// SPDX-License-Identifier: Apache-2.0
// Planted bugs. Each is one change of a machine's configuration, or of the wiring, as somebody
// might make it by mistake: a dropped guard, a swapped order, a missing wait, a forgotten way back.
// The checker has to find every one of them, or it proves nothing.
import { type AnyStateMachine, createMachine, enqueueActions } from 'xstate';
import type { Message } from '../machines/messages.ts';
import { type Delivery, route } from '../machines/wiring.ts';
import { type MachineName, type Machines, realMachines } from './system.ts';

/** A machine's configuration, untyped: mutants cut across its types on purpose. */
// oxlint-disable-next-line no-explicit-any
type Config = any;

export interface Mutant {
  readonly name: string;
  readonly what: string;
  /** Scenarios in which it shows, tried first. */
  readonly scenarios: readonly string[];
  /** Part of the short run. */
  readonly quick: boolean;
  readonly machines: () => Machines;
}

function copyOf(value: Config): Config {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(copyOf);
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, copyOf(one)]));
}

function edited(machine: AnyStateMachine, edit: (config: Config) => void): AnyStateMachine {
  const config = copyOf(machine.config);
  edit(config);
  return createMachine(config, machine.implementations as never) as unknown as AnyStateMachine;
}

const list: Mutant[] = [];

/** The configuration of a machine is changed. */
function plant(
  machine: MachineName,
  what: string,
  scenarios: readonly string[],
  edit: (states: Config, config: Config) => void,
): void {
  list.push({
    name: nameOf(machine, what),
    what,
    scenarios,
    quick: list.length % 6 === 0,
    machines: () => ({
      ...realMachines,
      [machine]: edited(realMachines[machine], (config) => edit(config.states, config)),
    }),
  });
}

/** A guard or an action of a machine is replaced. */
function replace(
  machine: MachineName,
  what: string,
  scenarios: readonly string[],
  parts: { readonly guards?: object; readonly actions?: object },
): void {
  list.push({
    name: nameOf(machine, what),
    what,
    scenarios,
    quick: list.length % 6 === 0,
    machines: () => ({
      ...realMachines,
      [machine]: realMachines[machine].provide(parts as never) as AnyStateMachine,
    }),
  });
}

/** A message is delivered otherwise. */
function misroute(
  what: string,
  scenarios: readonly string[],
  change: (message: Message, to: readonly Delivery[]) => readonly Delivery[],
): void {
  list.push({
    name: nameOf('wiring', what),
    what,
    scenarios,
    quick: list.length % 6 === 0,
    machines: () => ({ ...realMachines, route: (message) => change(message, route(message)) }),
  });
}

function nameOf(machine: string, what: string): string {
  return `${machine}-${what.toLowerCase().replace(/[^a-z0-9]+/g, '-')}`;
}

/** All ways into `from` lead to `to` instead. */
function retarget(config: Config, from: string, to: string): void {
  if (typeof config !== 'object' || config === null) return;
  for (const [key, value] of Object.entries(config as Record<string, Config>)) {
    if (key === 'target' && value === from) config[key] = to;
    else if (key.startsWith('on') && value === from) config[key] = to;
    else retarget(value, from, to);
  }
}

const never = (): boolean => false;
const always = (): boolean => true;
const nothing = (): void => undefined;
const dumps = ['dump-and-go-on', 'dump'];

/** Takes away one of the actions of a transition. */
function without(transition: Config, action: string): void {
  transition.actions = [transition.actions].flat().filter((one: Config) => one !== action);
}

plant('dump', 'Saves without draining', dumps, (states) => {
  states.cutting.invoke.onDone.target = 'snapshotting';
});
plant('dump', 'Freezes while agents are attached', dumps, (states) => {
  states.streaming.states.choosing.always[1].target = 'cpuDumping';
});
plant('dump', 'Commits without the CPU side', dumps, (states) => {
  states.streaming.states.disconnecting.invoke.onDone = 'awaiting';
});
replace('dump', 'Forgets to thaw', dumps, { guards: { isFrozen: never } });
replace('dump', 'Forgets to let agents in again', dumps, { guards: { isAway: never } });
replace('dump', 'Forgets to open the gates', dumps, { guards: { isClosed: never } });
replace('dump', 'Forgets the saves of its executors', dumps, { guards: { isSaving: never } });
replace('dump', 'Commits before the last byte', dumps, { guards: { isSaved: always } });
replace('dump', 'Forgets the partial image', dumps, { guards: { isPartial: never } });
plant('dump', 'Puts back under the hands of an effect', dumps, (states) => {
  states.repairing.id = 'repairing';
  retarget(states, 'settling', 'repairing');
  retarget(states, '#settling', '#repairing');
});
plant('dump', 'Ends the tree before the commit', ['dump'], (states) => {
  states.endingTree.id = 'endingTree';
  states.streaming.states.cpuDumping.invoke.onDone = '#endingTree';
});
plant('dump', 'Tells success when it failed', dumps, (states) => {
  states.failed.entry = 'tellDone';
});
plant('dump', 'Tells nobody that it is committed', dumps, (states) => {
  delete states.committed.entry;
});
plant('dump', 'Waits for ever for the save', dumps, (states) => {
  delete states.snapshotting.after;
});
plant('dump', 'Waits for ever for the commit', dumps, (states) => {
  delete states.committing.after;
});
plant('dump', 'Gives up at once when it is cancelled while saving', dumps, (states) => {
  states.snapshotting.on['job.cancel'].target = 'failed';
});
plant('dump', 'Can be cancelled while committing', dumps, (states) => {
  states.committing.on = copyOf(states.snapshotting.on);
  states.committing.on['job.cancel'].target = 'repairing';
});
replace('dump', 'Tries cuts without end', ['dump-with-one-cut'], {
  guards: { hasCutsLeft: always },
});
replace('dump', 'Ends a tree that was to go on', dumps, { guards: { leavesRunning: never } });
replace('dump', 'Leaves a tree that was to end', ['dump'], { guards: { leavesRunning: always } });
replace('dump', 'Takes any drain for a reached one', dumps, { guards: { hasReached: always } });
plant('dump', 'Forgets why it failed', dumps, (states) => {
  delete states.snapshotting.invoke.onError.actions;
});

const moves = ['suspend-resume'];
plant('suspend', 'Moves without draining', moves, (states) => {
  states.cutting.invoke.onDone.target = 'moving';
});
plant('suspend', 'Moves without closing gates', moves, (states) => {
  states.planning.invoke.onDone.target = 'moving';
});
replace('suspend', 'Forgets to open the gates', moves, { guards: { mayOpen: never } });
replace('suspend', 'Forgets to move back', moves, { guards: { isMoving: never } });
plant('suspend', 'Moves back under the hands of an effect', moves, (_, config) => {
  retarget(config.states, 'settling', 'repairing');
});
plant('suspend', 'Waits for ever for the drain', moves, (states) => {
  delete states.draining.after;
});
plant('resume', 'Opens the gates before memory is in', moves, (states) => {
  states.planning.invoke.onDone.target = 'opening';
});
replace('resume', 'Forgets to move back', moves, { guards: { isMoving: never } });
plant('resume', 'Moves back under the hands of an effect', moves, (_, config) => {
  retarget(config.states, 'settling', 'repairing');
});
plant('resume', 'Waits for ever for the move', moves, (states) => {
  delete states.moving.after;
});
plant('resume', 'Leaves the gates closed', moves, (states) => {
  states.moving.invoke.onDone.target = 'resumed';
});

const restores = ['restore'];
plant('restore', 'Starts the program before the device is loaded', restores, (states) => {
  states.reserving.invoke.onDone.target = 'restoringCpu';
});
plant('restore', 'Opens the gates before agents are back', restores, (states) => {
  states.restoringCpu.invoke.onDone.target = 'opening';
});
plant('restore', 'Loads every object twice', restores, (states) => {
  states.again = copyOf(states.loading);
  states.loading.invoke.onDone = 'again';
});
plant('restore', 'Leaves the gates closed', restores, (states) => {
  states.reattaching.invoke.onDone.target = 'restored';
});
replace('restore', 'Leaves half a tree behind', restores, { guards: { hasTree: never } });
replace('restore', 'Leaves executors behind', restores, { guards: { hasExecutors: never } });
plant('restore', 'Ends a tree under the hands of CRIU', restores, (_, config) => {
  retarget(config.states, 'settling', 'repairing');
});
plant('restore', 'Waits for ever for agents', restores, (states) => {
  delete states.reattaching.after;
});

const attach = ['attach', 'restart-in-attach'];
plant('client', 'Ends without a word', attach, (states) => {
  delete states.exited.entry;
});
plant('client', 'Is lost without a word', attach, (states) => {
  delete states.lost.entry;
});
plant('client', 'Forgets an executor that came too late', attach, (states) => {
  delete states.refusing.on;
});
plant('client', 'Does not hear that its executor died', attach, (states) => {
  delete states.running.on['executor.lost'];
});
plant('client', 'Does not hear of it while suspended', moves, (states) => {
  delete states.suspended.on['executor.lost'];
});
plant('client', 'Waits for ever for its welcome', attach, (states) => {
  delete states.welcoming.after;
});
plant('client', 'Asks for two executors', attach, (states) => {
  states.choosing.always[2].actions = ['tellJoined', 'askForExecutor', 'askForExecutor'];
});
replace('device', 'Gives one executor to two clients', attach, {
  actions: {
    pair: enqueueActions(({ enqueue, context }: { enqueue: Config; context: Config }) => {
      const [executorId] = context.warm;
      const [clientId, ...waiting] = context.waiting;
      enqueue.assign({ waiting });
      enqueue.emit({ type: 'executor.paired', executorId, clientId });
    }),
  },
});
plant('device', 'Never fills its pool', attach, (states) => {
  states.open.always.pop();
});
plant('device', 'Rests for ever after a failed start', attach, (states) => {
  delete states.cooling.after;
});
replace('device', 'Keeps dead executors', attach, { actions: { dropExecutor: nothing } });
plant('executor', 'Is warm without a word', attach, (states) => {
  delete states.starting.invoke.onDone.actions;
});
plant('executor', 'Is found warm without a word', ['restart-in-dump'], (states) => {
  delete states.finding.invoke.onDone[1].actions;
});
plant('executor', 'Serves without a word', attach, (states) => {
  delete states.assigning.invoke.onDone.actions;
});
plant('executor', 'Fails to start without a word', attach, (states) => {
  without(states.starting.invoke.onError, 'tellFailed');
});
plant('executor', 'Dies without a word', attach, (states) => {
  without(states.serving.on['executor.exited'], 'tellLost');
});
plant('executor', 'Outlives its client', attach, (states) => {
  delete states.serving.on['client.gone'];
});
replace('node', 'Lets two jobs have one client', ['rivals'], { guards: { ownsClient: never } });
plant('node', 'Never lets go of a client', dumps, (_, config) => {
  delete config.on['job.ended'];
});

misroute('A late executor is not sent away', attach, (message, to) =>
  message.type === 'executor.bound'
    ? to.map(({ ...one }) => {
        delete (one as { otherwise?: unknown }).otherwise;
        return one;
      })
    : to,
);
misroute('The end of a client is kept from its executor', attach, (message, to) =>
  message.type === 'client.gone' ? to.filter((one) => one.to !== 'executor') : to,
);
misroute('The end of an executor is kept from its client', attach, (message, to) =>
  message.type === 'executor.lost' ? [] : to,
);
misroute('A failed start is kept from the pool', attach, (message, to) =>
  message.type === 'executor.failed' ? [] : to,
);
misroute('The end of an executor is kept from the pool', attach, (message, to) =>
  message.type === 'executor.ended' ? [] : to,
);
misroute('The end of a job is kept from the node', dumps, (message, to) =>
  message.type === 'job.ended' ? [] : to,
);

export const mutants: readonly Mutant[] = list;
