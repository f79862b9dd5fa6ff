// SPDX-License-Identifier: Apache-2.0
// What may happen next. Free steps are what processes do by themselves; a fault is what nobody
// wants, and a run has a budget of them. A deadline that passes while something could still
// happen is a fault too; when nothing else can happen time passes, and every deadline is free.
import type { LocalState } from './local.ts';
import type { Outcome, Port, PortCall } from './port-tools.ts';
import { portOf } from './ports.ts';
import { recoverySteps, restart } from './restart.ts';
import { programSteps } from './program-steps.ts';
import type { Scenario, Step } from './scenario.ts';
import type { Request, System } from './system.ts';
import { draftOf, type Effect, type SystemState } from './world.ts';

const planted = new Error('planted');
/** Pauses that are part of the protocol, not failures of somebody to answer. */
const pauses = ['backoff', 'exitConfirm'];

const delayName = (eventType: string): string => eventType.split('.')[2] ?? '';

function callOf(system: System, draft: SystemState, effect: Effect): PortCall {
  const jobId = effect.actor.slice(4);
  const job = draft.jobs[jobId] as PortCall['job'];
  return {
    state: draft,
    effect,
    job,
    jobId,
    self: effect.actor,
    effects: {
      tell: (to, id, type) => void system.hear(draft, `${to}:${id}`, { type }),
      addClient: (id, origin) => system.addClient(draft, id, origin, null, false),
    },
  };
}

/** The machine hears how its port ended, unless it has stopped waiting. */
function finish(system: System, draft: SystemState, index: number, outcome: Outcome): void {
  const [effect] = draft.effects.splice(index, 1);
  if (effect === undefined || effect.orphan) return;
  const event =
    typeof outcome === 'object'
      ? { type: `xstate.done.actor.${effect.id}`, output: outcome.done }
      : { type: `xstate.error.actor.${effect.id}`, error: planted };
  system.hear(draft, effect.actor, event);
}

/** A job that puts things back: a fault in that excuses what it leaves, because it is told. */
function isRepair(local: LocalState | undefined, src: string): boolean {
  const { failure, image, retracting } = local?.context ?? {};
  const isGoingBack = (failure !== null && failure !== undefined) || retracting === true;
  // The last step of a resume: memory is in, and nothing can be put back any more.
  const isLast = local?.machine.name === 'resume' && src === 'openGates';
  return isGoingBack || isLast || image === 'committed' || src === 'endTree';
}

function jobSteps(system: System, state: SystemState, index: number): Step[] {
  const effect = state.effects[index] as Effect;
  const job = state.jobs[effect.actor.slice(4)];
  if (job === undefined) return [];
  const port = portOf(job.kind, effect.src);
  const name = `${effect.actor} ${effect.src}[${effect.pc}]`;
  const steps: Step[] = [];
  if (effect.isHung) {
    const run = (draft: SystemState): void => {
      takeBackRename(draft, draft.effects[index] as Effect);
      finish(system, draft, index, 'fail');
    };
    return effect.orphan ? [{ label: `${name} is given up`, kind: 'free', run }] : [];
  }
  const isAborted = effect.orphan && effect.pc < (port.abortableBefore ?? 0);
  if (isAborted) {
    const run = (draft: SystemState): void => finish(system, draft, index, 'fail');
    steps.push({ label: `${name} notices that it was aborted`, kind: 'free', run });
  }
  const isReady = port.ready?.(callOf(system, state, effect)) ?? true;
  if (isReady) steps.push(goOn(system, port, index, name));
  if (port.otherwise !== undefined && !effect.orphan) {
    steps.push({
      label: `${name} answers ${JSON.stringify(port.otherwise)}`,
      kind: 'fault',
      run: (draft) => finish(system, draft, index, { done: port.otherwise }),
    });
  }
  if (port.infallible !== true && !effect.orphan) {
    steps.push(...failures(system, port, index, name, state));
  } else if (port.abortableBefore !== undefined && !effect.orphan) {
    steps.push(hang(index, name, isRepair(state.actors.get(effect.actor), effect.src)));
  }
  return steps;
}

function goOn(system: System, port: Port, index: number, name: string): Step {
  return {
    label: name,
    kind: 'free',
    run: (draft) => {
      const mine = draft.effects[index] as Effect;
      const outcome = port.step(callOf(system, draft, mine));
      if (outcome === 'more') mine.pc += 1;
      else finish(system, draft, draft.effects.indexOf(mine), outcome);
    },
  };
}

function failures(
  system: System,
  port: Port,
  index: number,
  name: string,
  state: SystemState,
): Step[] {
  const effect = state.effects[index] as Effect;
  const isExcused = isRepair(state.actors.get(effect.actor), effect.src);
  const label = `${name} fails: ${port.fault ?? 'an answer is an error'}`;
  return [
    hang(index, name, isExcused),
    {
      label,
      kind: 'fault',
      run: (draft) => {
        const mine = draft.effects[index] as Effect;
        const job = draft.jobs[mine.actor.slice(4)];
        if (isExcused && job !== undefined) job.unrepaired = true;
        takeBackRename(draft, mine);
        const goesOn = port.parallel === true && (job?.members[mine.pc] ?? null) !== null;
        if (goesOn) {
          mine.failed = true;
          mine.pc += 1;
        } else finish(system, draft, index, 'fail');
      },
    },
  ];
}

/** A commit that fails after its rename renames back. */
function takeBackRename(draft: SystemState, effect: Effect): void {
  if (effect.src !== 'commitImage' || draft.image.place !== 'renamed') return;
  draft.image = { ...draft.image, place: 'partial' };
}

/** Nobody answers any more; only a deadline can end the wait. */
function hang(index: number, name: string, isExcused: boolean): Step {
  return {
    label: `${name} does not answer`,
    kind: 'fault',
    run: (draft) => {
      const mine = draft.effects[index] as Effect;
      const job = draft.jobs[mine.actor.slice(4)];
      if (isExcused && job !== undefined) job.unrepaired = true;
      mine.isHung = true;
    },
  };
}

/** Ports of executors, clients and the node: one step each, but for the welcome. */
function actorSteps(system: System, state: SystemState, index: number): Step[] {
  const effect = state.effects[index] as Effect;
  const name = `${effect.actor} ${effect.src}[${effect.pc}]`;
  const id = effect.actor.split(':')[1] ?? '';
  const end = (outcome: Outcome) => (draft: SystemState) => finish(system, draft, index, outcome);
  const done: Outcome = { done: undefined };
  const fault: Step = { label: `${name} fails`, kind: 'fault', run: end('fail') };
  const executor = state.executors[id];
  if (effect.isHung) return [];
  const silence = hang(index, name, false);
  switch (effect.src) {
    case 'startExecutor': {
      if (executor?.process !== 'starting')
        return [{ label: name, kind: 'free', run: end('fail') }];
      const run = (draft: SystemState): void => {
        const mine = draft.executors[id];
        if (mine !== undefined) mine.process = 'alive';
        finish(system, draft, index, done);
      };
      return [{ label: name, kind: 'free', run }, fault, silence];
    }
    case 'findExecutor': {
      const outcome: Outcome =
        executor?.process === 'alive' ? { done: { clientId: executor.client } } : 'fail';
      return [{ label: name, kind: 'free', run: end(outcome) }, fault, silence];
    }
    case 'assignExecutor':
      return [assign(system, state, index, id, name), fault, silence];
    case 'endExecutor': {
      const run = (draft: SystemState): void => {
        const mine = draft.executors[id];
        if (mine !== undefined) mine.process = 'dead';
        finish(system, draft, index, done);
      };
      return [{ label: name, kind: 'free', run }, silence];
    }
    case 'welcomeAgent':
      return [...welcome(system, state, index, id, name), silence];
    default:
      return [{ label: name, kind: 'free', run: end(done) }];
  }
}

function assign(system: System, state: SystemState, index: number, id: string, name: string): Step {
  const clientId = state.actors.get(`executor:${id}`)?.context['clientId'];
  const run = (draft: SystemState): void => {
    const executor = draft.executors[id];
    const mine = draft.effects[index] as Effect;
    // The executor has it; the answer is on its way, and the client may end meanwhile.
    if (mine.pc === 1) {
      finish(system, draft, index, { done: undefined });
      return;
    }
    const isWanted = typeof clientId === 'string' && draft.actors.has(`client:${clientId}`);
    const isAble = executor !== undefined && executor.process === 'alive' && isWanted;
    if (!isAble) finish(system, draft, index, 'fail');
    else {
      executor.client = clientId;
      mine.pc = 1;
    }
  };
  return { label: name, kind: 'free', run };
}

function welcome(
  system: System,
  state: SystemState,
  index: number,
  clientId: string,
  name: string,
): Step[] {
  const executorId = state.actors.get(`client:${clientId}`)?.context['executorId'];
  const run = (draft: SystemState): void => {
    const mine = draft.effects[index] as Effect;
    if (mine.pc === 1) {
      finish(system, draft, index, { done: undefined });
      return;
    }
    const executor = typeof executorId === 'string' ? draft.executors[executorId] : undefined;
    const client = draft.clients[clientId];
    const isAble =
      executor?.process === 'alive' && executor.client === clientId && client?.agent === 'hello';
    if (!isAble || client === undefined) finish(system, draft, index, 'fail');
    else {
      client.agent = 'welcomed';
      client.sentTo = executorId as string;
      mine.pc = 1;
    }
  };
  return [{ label: name, kind: 'free', run }];
}

function deadlineSteps(system: System, state: SystemState): Step[] {
  const steps: Step[] = [];
  for (const [key, local] of state.actors) {
    for (const type of local.delays) {
      const delay = delayName(type);
      const kind = pauses.includes(delay) ? 'free' : 'deadline';
      const src = local.invocations[0]?.src ?? '';
      const isExcused = key.startsWith('job:') && isRepair(local, src);
      const run = (draft: SystemState): void => {
        const job = draft.jobs[key.slice(4)];
        if (isExcused && job !== undefined) job.unrepaired = true;
        system.hear(draft, key, { type });
      };
      steps.push({ label: `${key}: the ${delay} deadline passes in ${local.value}`, kind, run });
    }
  }
  return steps;
}

function noticeSteps(system: System, state: SystemState): Step[] {
  return state.notices.map((notice, index) => ({
    label: `phosd hears ${notice.type} of ${notice.id}`,
    kind: 'free' as const,
    run: (draft: SystemState) => {
      draft.notices.splice(index, 1);
      const event =
        notice.type === 'agent.lost' ? { type: notice.type, failure: lost } : { type: notice.type };
      system.hear(draft, `${notice.to}:${notice.id}`, event);
    },
  }));
}
const lost = { code: 'TRANSPORT', message: 'gone', step: 'run', retryable: false };

function userSteps(system: System, scenario: Scenario, state: SystemState): Step[] {
  const steps: Step[] = [];
  for (const id of scenario.arrivals) {
    if (state.clients[id]?.process !== 'none') continue;
    const run = (draft: SystemState): void => {
      const client = draft.clients[id];
      if (client === undefined) return;
      client.process = 'alive';
      client.agent = 'hello';
      system.addClient(draft, id, 'hello', null, false);
    };
    steps.push({ label: `program ${id} starts and says hello`, kind: 'free', run });
  }
  for (const request of scenario.requests) {
    if (!mayAsk(state, request)) continue;
    const run = (draft: SystemState): void => system.request(draft, request);
    const { jobId, kind, members } = request;
    const label = `a user asks for ${jobId}: ${kind} of ${members.join(', ')}`;
    steps.push({ label, kind: 'free', run });
  }
  for (const key of state.actors.keys()) {
    if (!key.startsWith('job:')) continue;
    const run = (draft: SystemState): void => void system.hear(draft, key, { type: 'job.cancel' });
    steps.push({ label: `a user cancels ${key}`, kind: 'fault', run });
  }
  return steps;
}

function mayAsk(state: SystemState, request: Request): boolean {
  if (state.jobs[request.jobId] !== undefined) return false;
  if (request.after !== undefined && (state.jobs[request.after]?.outcome ?? null) === null) {
    return false;
  }
  if (state.actors.get('node')?.value !== 'ready') return false;
  // A job waits until a phosd that came back has put everything back.
  if (state.effects.some((effect) => effect.actor === 'phosd')) return false;
  if (request.kind === 'restore') return true;
  return request.members.every((id) => {
    const value = state.actors.get(`client:${id}`)?.value ?? 'lost';
    return value !== 'lost' && state.clients[id]?.process === 'alive';
  });
}

/** Everything that may happen in a state. */
export function stepsOf(system: System, scenario: Scenario, state: SystemState): Step[] {
  const all: Step[] = [];
  if (state.phosd === 'down') {
    all.push({ label: 'phosd comes back', kind: 'free', run: (draft) => restart(system, draft) });
  } else {
    state.effects.forEach((effect, index) => {
      const isJob = effect.actor.startsWith('job:');
      const of = effect.actor === 'phosd' ? recoverySteps : isJob ? jobSteps : actorSteps;
      all.push(...of(system, state, index));
    });
    all.push(...noticeSteps(system, state), ...userSteps(system, scenario, state));
    all.push(...deadlineSteps(system, state));
    all.push({ label: 'phosd is killed', kind: 'crash', run: (draft) => crash(draft) });
  }
  all.push(...programSteps(system, scenario, state));
  return all;
}

function crash(draft: SystemState): void {
  const under = [...draft.actors.keys()].filter((key) => key.startsWith('job:'));
  draft.registry = [...draft.registry, ...under.map((key) => key.slice(4))];
  for (const jobId of under) {
    const job = draft.jobs[jobId];
    if (job !== undefined) job.outcome = 'lost with phosd';
  }
  for (const [id, client] of Object.entries(draft.clients)) {
    const executorId = draft.actors.get(`client:${id}`)?.context['executorId'];
    const executor = typeof executorId === 'string' ? draft.executors[executorId] : undefined;
    const isServed = client.served && executor?.process === 'alive' && executor.ring;
    if (client.process === 'alive' && isServed) {
      draft.lostSight = { ...draft.lostSight, [id]: executorId as string };
    }
    if (client.agent === 'hello') client.agent = client.served ? 'away' : 'none';
  }
  draft.actors.clear();
  draft.effects = [];
  draft.notices = [];
  draft.phosd = 'down';
}

/** What is enabled: faults within the budget, deadlines for free only when nothing else moves. */
export function enabled(system: System, scenario: Scenario, state: SystemState): Step[] {
  const all = stepsOf(system, scenario, state);
  const isStill = !all.some((step) => step.kind === 'free');
  return all.filter((step) => {
    if (step.kind === 'free') return true;
    if (step.kind === 'deadline') return isStill || state.faults > 0;
    return step.kind === 'crash' ? state.crashes > 0 : state.faults > 0;
  });
}

export function apply(state: SystemState, step: Step, isStill: boolean): SystemState {
  const draft = draftOf(state);
  if (step.kind === 'fault' || (step.kind === 'deadline' && !isStill)) draft.faults -= 1;
  if (step.kind === 'crash') draft.crashes -= 1;
  step.run(draft);
  return draft;
}
