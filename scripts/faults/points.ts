// SPDX-License-Identifier: Apache-2.0
// Every fault point, the operation in which it is passed, and what may go wrong there. Points of
// jobs and of executor methods come from the machines and the protocol themselves.
import type { AnyStateMachine } from 'xstate';
import { dumpMachine } from '../../src/machines/dump.machine.ts';
import { restoreMachine } from '../../src/machines/restore.machine.ts';
import { resumeMachine } from '../../src/machines/resume.machine.ts';
import { suspendMachine } from '../../src/machines/suspend.machine.ts';

export type Operation = 'dump' | 'restore' | 'suspend';
export type FaultKind = 'crash' | 'eio' | 'enospc' | 'device' | 'short' | 'delay';

export interface FaultPoint {
  readonly name: string;
  readonly process: 'phosd' | 'executor';
  readonly operation: Operation;
  readonly kinds: readonly FaultKind[];
  /** Planted as well, so that the way back is taken and the point is passed. */
  readonly trigger: string | null;
}

const usual = ['crash', 'eio'] as const;

/** Ports of the way back: they are passed when something else has failed before. */
const triggers: Readonly<Record<string, string>> = {
  'dump.settle': 'dump.commitImage.before:1:enospc',
  'dump.discardImage': 'dump.commitImage.before:1:enospc',
  // While the save is still under way, so that there is one to abort.
  'dump.abortSave': 'dump.disconnectAgents.before:1:eio',
  'executor.save.abort': 'dump.disconnectAgents.before:1:eio',
  'restore.settle': 'restore.awaitAgents.after:1:eio',
  'restore.endTree': 'restore.awaitAgents.after:1:eio',
  'restore.endExecutors': 'restore.awaitAgents.after:1:eio',
  'suspend.settle': 'suspend.moveOut.after:1:device',
  'suspend.moveIn': 'suspend.moveOut.after:1:device',
  'suspend.openGates': 'suspend.moveOut.after:1:device',
  'resume.settle': 'resume.moveIn.after:1:device',
  'resume.moveOut': 'resume.moveIn.after:1:device',
};

export const jobMachines: Readonly<Record<string, AnyStateMachine>> = {
  dump: dumpMachine,
  restore: restoreMachine,
  suspend: suspendMachine,
  resume: resumeMachine,
};

function ofJob(kind: string, operation: Operation): FaultPoint[] {
  const ports = Object.keys((jobMachines[kind] as AnyStateMachine).implementations.actors);
  return ports.flatMap((port) =>
    ['before', 'after'].map((side) => ({
      name: `${kind}.${port}.${side}`,
      process: 'phosd' as const,
      operation,
      kinds: usual,
      trigger: triggers[`${kind}.${port}`] ?? null,
    })),
  );
}

function ofMethod(method: string, operation: Operation): FaultPoint[] {
  return ['before', 'after'].map((side) => ({
    name: `executor.${method}.${side}`,
    process: 'executor' as const,
    operation,
    kinds: usual,
    trigger: triggers[`executor.${method}`] ?? null,
  }));
}

function native(
  name: string,
  process: 'phosd' | 'executor',
  operation: Operation,
  kinds: readonly FaultKind[],
): FaultPoint {
  return { name, process, operation, kinds, trigger: null };
}

/** Methods of the executor's protocol, by the operation in which they are sure to be asked for. */
export const methodsOf: Readonly<Record<Operation, readonly string[]>> = {
  dump: [
    'explain',
    'gate.close',
    'ring.head',
    'drain.to',
    'save.begin',
    'save.finish',
    'save.abort',
    'agent.disconnect',
    'expect',
    'gate.open',
  ],
  restore: ['assign', 'load'],
  suspend: ['suspend', 'resume'],
};

export const faultPoints: readonly FaultPoint[] = [
  ...ofJob('dump', 'dump'),
  ...ofJob('restore', 'restore'),
  ...ofJob('suspend', 'suspend'),
  ...ofJob('resume', 'suspend'),
  ...Object.entries(methodsOf).flatMap(([operation, methods]) =>
    methods.flatMap((method) => ofMethod(method, operation as Operation)),
  ),
  native('image.create', 'executor', 'dump', ['crash', 'eio', 'enospc']),
  native('image.write', 'executor', 'dump', ['crash', 'eio', 'enospc', 'short', 'delay']),
  native('image.sync', 'executor', 'dump', ['crash', 'eio', 'delay']),
  native('image.rename', 'phosd', 'dump', ['crash', 'eio', 'delay']),
  native('image.parent', 'phosd', 'dump', ['crash', 'eio', 'delay']),
  native('snapshot.copy', 'executor', 'dump', ['crash', 'device']),
  native('shadow.take', 'executor', 'dump', ['crash', 'device']),
  native('save.copy', 'executor', 'dump', ['crash', 'device']),
  native('image.open', 'executor', 'restore', ['crash', 'eio']),
  native('image.read', 'executor', 'restore', ['crash', 'eio', 'delay']),
  native('load.object', 'executor', 'restore', ['crash', 'device']),
  native('load.copy', 'executor', 'restore', ['crash', 'device']),
  native('suspend.copy', 'executor', 'suspend', ['crash', 'device']),
  native('resume.copy', 'executor', 'suspend', ['crash', 'device']),
];

/** The few of CI: one of each process and operation, with a crash, and a full disk. */
export const quick: readonly string[] = [
  'dump.commitImage.after:crash',
  'executor.save.finish.before:crash',
  'image.write:short',
  'restore.loadGpu.after:crash',
];

export const nameOf = (point: FaultPoint, kind: FaultKind): string => `${point.name}:${kind}`;
