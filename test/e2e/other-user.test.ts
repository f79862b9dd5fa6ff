// SPDX-License-Identifier: Apache-2.0
// A phosd of root serves the programs of other users: with their rights, each user his own.
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/model/locate.ts';
import { mayDumpOthers, whyNoCheckpoint } from '../support/checkpointing.ts';
import { built, Command, finish, stepLines, TestPhos } from '../support/control.ts';

const USER = 65_533;
const ANOTHER = 65_532;
const cli = fileURLToPath(new URL('dist/src/cli/main.js', packageRoot));

/** Null when programs of other users can run here at all, else why not. */
function whyNoOthers(): string | null {
  if (process.getuid?.() !== 0) return 'only root can be another user';
  const as = { uid: USER, gid: USER };
  const tried = spawnSync(process.execPath, [cli, '--version'], { ...as, stdio: 'pipe' });
  if (tried.status === 0) return null;
  return `user ${USER} cannot run what lies in ${fileURLToPath(packageRoot)}`;
}

const noOthers = whyNoOthers();
const noCheckpoint = await whyNoCheckpoint();
const mayDump = noCheckpoint === null && mayDumpOthers();
const skipped = noOthers ? ` (skipped: ${noOthers})` : '';

function uidOf(pid: number): number {
  const line = /^Uid:\s+(\d+)\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  expect(line?.[1]).toBe(line?.[2]);
  return Number(line?.[1]);
}

describe.skipIf(noOthers !== null)(`programs of another user${skipped}`, () => {
  const phos = new TestPhos();
  const own = join(phos.folder, 'own');
  beforeAll(async () => {
    chmodSync(phos.folder, 0o755);
    mkdirSync(own);
    chownSync(own, USER, USER);
    await phos.json('start');
  });
  afterAll(() => phos.close());

  const as = (uid: number, ...args: string[]) =>
    new Command(args, phos.env, 'ignore', { uid, gid: uid });
  const refusalOf = async (uid: number, ...args: string[]) => {
    const { code, stdout } = await as(uid, ...args, '--json').ended;
    return { exit: code, ...(JSON.parse(stdout) as { error: { code: string } }).error };
  };

  async function program(stopFile: string) {
    const path = built('test/subjects/memory_steps');
    const command = as(USER, 'run', '--', path, '1', '5000', stopFile);
    await command.untilLines(5);
    const [client] = (await phos.ps()).clients;
    return { command, client, target: String(client?.pid) };
  }

  it('run with that user’s rights, and so do their executors', async () => {
    const stop = join(own, 'stop-1');
    const { command, client, target } = await program(stop);
    expect(uidOf(client?.pid ?? 0)).toBe(USER);
    expect(uidOf(client?.executorPid ?? 0)).toBe(USER);
    expect(await as(USER, 'suspend', target).ended).toMatchObject({ code: 0 });
    expect(await as(USER, 'resume', target).ended).toMatchObject({ code: 0 });
    writeFileSync(stop, '');
    const last = await finish(command, stop);
    expect(command.lines().slice(0, -1)).toEqual(stepLines(1, last));
  });

  it('are nobody else’s, and phosd is not theirs', async () => {
    const stop = join(own, 'stop-2');
    const { command, target } = await program(stop);
    for (const verb of [['suspend'], ['dump', '--dir', join(own, 'theft')], ['explain']]) {
      const refusal = await refusalOf(ANOTHER, ...verb, target);
      expect([verb[0], refusal]).toMatchObject([verb[0], { exit: 4, code: 'PERMISSION' }]);
    }
    expect(await refusalOf(USER, 'stop', '--force')).toMatchObject({ code: 'PERMISSION' });
    // An image must lie where its owner could put it himself.
    const outside = join(phos.folder, 'image');
    expect(await refusalOf(USER, 'dump', target, '--dir', outside)).toMatchObject({
      code: 'PERMISSION',
    });
    expect(existsSync(outside)).toBe(false);
    await finish(command, stop);
  });

  it.skipIf(mayDump || noCheckpoint !== null)(
    'are refused a dump where phosd lacks CAP_SYS_RESOURCE, and run on',
    async () => {
      const stop = join(own, 'stop-3');
      const { command, target } = await program(stop);
      const refusal = await refusalOf(USER, 'dump', target, '--dir', join(own, 'image'));
      expect(refusal).toMatchObject({ exit: 4, code: 'PERMISSION' });
      expect(JSON.stringify(refusal)).toContain('CAP_SYS_RESOURCE');
      expect(existsSync(join(own, 'image'))).toBe(false);
      const last = await finish(command, stop);
      expect(command.lines().slice(0, -1)).toEqual(stepLines(1, last));
    },
  );

  const why = noCheckpoint ?? 'without CAP_SYS_RESOURCE';
  it.skipIf(!mayDump)(
    `are dumped and restored as that user${mayDump ? '' : ` (skipped: ${why})`}`,
    async () => {
      const stop = join(own, 'stop-4');
      const image = join(own, 'image');
      const { command, target } = await program(stop);
      expect(await as(USER, 'dump', target, '--dir', image).ended).toMatchObject({ code: 0 });
      expect((await command.ended).code).toBe(137);
      const restored = as(USER, 'restore', image, '--quiet');
      await restored.untilLines(5);
      const [client] = (await phos.ps()).clients;
      expect(uidOf(client?.pid ?? 0)).toBe(USER);
      expect(uidOf(client?.executorPid ?? 0)).toBe(USER);
      const last = await finish(restored, stop);
      const lines = [...command.lines(), ...restored.lines().slice(0, -1)];
      expect(lines).toEqual(stepLines(1, last));
    },
  );
});
