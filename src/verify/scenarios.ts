// SPDX-License-Identifier: Apache-2.0
// The situations that are explored. Every one has the node, two devices with their pools and two
// programs of two threads; they differ in what users ask for, and in what may go wrong. Bounds are
// here and are printed: commands of each program, faults and crashes of a run, states.
import type { Scenario } from './scenario.ts';
import { jobLimits } from './system.ts';
import type { SystemState } from './world.ts';

const MAX_STATES = 3_000_000;
const together = { ca: 0, cb: 0 };
const apart = { ca: 0, cb: 1 };
const both = ['ca', 'cb'];

const ended = (jobId: string, outcome: string) => (state: SystemState) =>
  state.jobs[jobId]?.outcome === outcome;

const bothRun = (state: SystemState): boolean =>
  both.every((id) => state.actors.get(`client:${id}`)?.value === 'running');

const base = {
  homes: together,
  devices: 2,
  arrivals: [],
  requests: [],
  commands: 1,
  faults: 1,
  crashes: 0,
  alike: both,
  maxStates: MAX_STATES,
  quick: true,
} as const;

export const scenarios: readonly Scenario[] = [
  {
    ...base,
    name: 'attach',
    story: 'two programs start, are served, and end',
    arrivals: both,
    commands: 0,
    faults: 2,
    goals: { 'both run': bothRun },
  },
  {
    ...base,
    name: 'restart-in-attach',
    story: 'phosd is killed at any moment of the start of two programs, and comes back',
    arrivals: both,
    commands: 0,
    faults: 0,
    crashes: 1,
    goals: { 'both run': bothRun },
  },
  {
    ...base,
    name: 'dump',
    story: 'a tree of two programs is dumped and ended',
    requests: [{ jobId: 'j1', kind: 'dump', members: both, input: { leaveRunning: false } }],
    goals: {
      'the dump is committed': ended('j1', 'committed'),
      'a dump fails': ended('j1', 'failed'),
    },
  },
  {
    ...base,
    name: 'dump-and-go-on',
    story: 'a tree of two programs is dumped and goes on',
    requests: [{ jobId: 'j1', kind: 'dump', members: both, input: { leaveRunning: true } }],
    goals: {
      'the dump is committed': ended('j1', 'committed'),
      'a dump fails': ended('j1', 'failed'),
    },
  },
  {
    ...base,
    name: 'dump-with-one-cut',
    story: 'a dump that may take one cut, so that a kernel that spins ends it',
    quick: false,
    requests: [
      {
        jobId: 'j1',
        kind: 'dump',
        members: both,
        input: { leaveRunning: true, limits: { ...jobLimits, maxCuts: 1 } },
      },
    ],
    goals: { 'a dump fails': ended('j1', 'failed') },
  },
  {
    ...base,
    name: 'suspend-resume',
    story: 'a tree is suspended and resumed',
    requests: [
      { jobId: 'j1', kind: 'suspend', members: both },
      { jobId: 'j2', kind: 'resume', members: both, after: 'j1' },
    ],
    goals: { 'it is resumed': ended('j2', 'resumed'), 'a suspend fails': ended('j1', 'failed') },
  },
  {
    ...base,
    name: 'restore',
    story: 'a tree of two programs comes back from an image',
    imaged: both,
    commands: 3,
    requests: [{ jobId: 'j1', kind: 'restore', members: both }],
    goals: { 'it is restored': ended('j1', 'restored'), 'a restore fails': ended('j1', 'failed') },
  },
  {
    ...base,
    name: 'rivals',
    story: 'a dump of both programs and a suspend of one are asked for at any time',
    alike: [],
    faults: 0,
    requests: [
      { jobId: 'j1', kind: 'dump', members: both, input: { leaveRunning: true } },
      { jobId: 'j2', kind: 'suspend', members: ['cb'] },
    ],
    goals: {
      'one is refused': ended('j2', 'refused'),
      'the dump is committed': ended('j1', 'committed'),
    },
  },
  {
    ...base,
    name: 'two-trees',
    story: 'one program is dumped while another, on another device, is suspended',
    homes: apart,
    alike: [],
    faults: 0,
    requests: [
      { jobId: 'j1', kind: 'dump', members: ['ca'], input: { leaveRunning: true } },
      { jobId: 'j2', kind: 'suspend', members: ['cb'] },
    ],
    goals: {
      'both are done': (state) =>
        ended('j1', 'committed')(state) && ended('j2', 'suspended')(state),
    },
  },
  {
    ...base,
    name: 'restart-in-dump',
    quick: false,
    story: 'phosd is killed at any moment of a dump and comes back',
    faults: 0,
    crashes: 1,
    requests: [
      { jobId: 'j1', kind: 'dump', members: both, input: { leaveRunning: true } },
      { jobId: 'j2', kind: 'suspend', members: both, after: 'j1' },
    ],
    goals: { 'a suspend after it works': ended('j2', 'suspended') },
  },
  {
    ...base,
    name: 'restart-in-restore',
    quick: false,
    story: 'phosd is killed at any moment of a restore and comes back',
    imaged: both,
    faults: 0,
    crashes: 1,
    commands: 2,
    requests: [{ jobId: 'j1', kind: 'restore', members: both }],
    goals: { 'it is restored': ended('j1', 'restored') },
  },
  {
    ...base,
    name: 'restart-in-suspend',
    story: 'phosd is killed at any moment of a suspend or resume and comes back',
    faults: 0,
    crashes: 1,
    requests: [
      { jobId: 'j1', kind: 'suspend', members: both },
      { jobId: 'j2', kind: 'resume', members: both, after: 'j1' },
    ],
    goals: { 'it is resumed': ended('j2', 'resumed') },
  },
];
