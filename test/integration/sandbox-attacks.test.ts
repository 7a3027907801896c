// A sandbox whose owner works against us on the host, while its files are fetched, its container is started and its output
// is copied: what is root's alone is neither read nor written, and nothing of it changes hands.

import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { TaskState } from '../../src/mesos/messages.ts';
import { tarOf } from '../support/archives.ts';
import { NOBODY, startExchanger } from '../support/exchange.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { supervisorLog } from '../support/on-host.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask, type TaskOptions } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';
import { Web } from '../support/web.ts';

const skip = await skipWithoutTools();
const { FINISHED, FAILED } = TaskState;
const SECRET = 'for root alone';
/** With two ways that each may go, one of them alone is a chance of 1 in 2048. */
const TIMES = 12;

describe('a sandbox whose owner works against us', { skip, timeout: 240_000 }, () => {
  let host: Host;
  let slave: StandInSlave;
  let web: Web;
  let keep: string;
  before(async () => {
    host = await startHost();
    slave = await host.slave();
    web = new Web();
    await web.start();
    keep = host.directory.at('keep');
    mkdirSync(keep, { mode: 0o700 });
    writeFileSync(`${keep}/secret`, SECRET, { mode: 0o600 });
  });
  after(async () => {
    web?.close();
    try {
      assert.deepEqual(await host.leftovers(), []);
      assert.deepEqual(slave.violations, []);
    } finally {
      await host?.[Symbol.asyncDispose]();
    }
  });

  const launch = async (options: TaskOptions): Promise<LaunchedTask> =>
    await slave.launch(commandTask({ image: IMAGES.busybox, ...options }), { user: 'nobody' });
  const ends = async (task: LaunchedTask): Promise<{ readonly state: number; readonly message: string }> => {
    const { state, message = '' } = await task.ended(90_000);
    await task.gone();
    return { state, message };
  };
  const isAsItWas = (): void => {
    assert.deepEqual(readdirSync(keep), ['secret']);
    assert.equal(readFileSync(`${keep}/secret`, 'utf8'), SECRET);
    const modes = [keep, `${keep}/secret`].map((path) => {
      const { uid, gid, mode } = statSync(path);
      return `${uid}:${gid} ${(mode & 0o7777).toString(8)}`;
    });
    assert.deepEqual(modes, ['0:0 700', '0:0 600']);
  };
  const isGivenBack = async (task: LaunchedTask): Promise<void> => {
    await until('the sandbox is its owner’s again', () => lstatSync(task.sandbox).uid === NOBODY);
  };

  /** The same over and over: what the exchanged names mean when they are looked at is a matter of luck. */
  const often = async (
    how: {
      readonly name: string;
      readonly makeOther: (path: string) => void;
      /** The fact of the container's state with which it begins; at once, if there is none. */
      readonly from?: string;
    },
    options: TaskOptions,
  ): Promise<readonly number[]> => {
    const one = async (): Promise<number> => {
      const task = await launch(options);
      how.makeOther(`${task.sandbox}/other`);
      const { from } = how;
      const begun = `${host.root}/mesos/${task.containerId}/${from ?? ''}`;
      if (from !== undefined) await until('it is so far', () => existsSync(begun), { everyMs: 1 });
      await using _exchanger = await startExchanger(task.sandbox, [[how.name, 'other']]);
      const { state, message } = await ends(task);
      assert.ok(
        [FINISHED, FAILED].some((wanted) => wanted === state),
        `${state} ${message}`,
      );
      // Else it is perhaps what the exchange has left there.
      if (how.name === 'fs') assert.equal(await sandboxFile(task, 'stdout'), '');
      await isGivenBack(task);
      isAsItWas();
      return state;
    };
    const states: number[] = [];
    for (let n = 0; n < TIMES / 2; n++) states.push(...(await Promise.all([one(), one()])));
    return states;
  };

  it('has nothing else mounted than its own, though he exchanges what is mounted with a link', async () => {
    const makeOther = (path: string): void => symlinkSync(keep, path);
    const states = await often(
      { name: 'fs', makeOther, from: 'creating' },
      { value: 'cat /tmp/mesos-sandbox/secret; : > /tmp/mesos-sandbox/planted' },
    );
    assert.ok(states.includes(FINISHED), `${states}`);
  });

  it('has its output in its own files, though he exchanges them with a link', async () => {
    const makeOther = (path: string): void => symlinkSync(`${keep}/secret`, path);
    const value = 'for i in $(seq 50); do echo evil; done';
    const states = await often({ name: 'stdout', makeOther }, { value });
    assert.equal(states.length, TIMES);
  });

  it('gives its tasks no volume that a link in it leads out to, and those that it leads to inside', async () => {
    const volume = (hostPath: string): TaskOptions => ({
      form: 'new',
      uris: [
        {
          value: web.page(
            `/${hostPath}.tar`,
            tarOf([
              { name: 'out', type: 'symlink', target: keep },
              { name: 'release/', type: 'directory', mode: 0o755 },
              { name: 'release/file', content: 'inside' },
              { name: 'in', type: 'symlink', target: 'release' },
            ]),
          ),
        },
      ],
      container: { volumes: [{ container_path: '/data', host_path: hostPath, mode: 1 }] },
      value: 'cat /data/*; : > /data/planted',
    });
    const out = await launch(volume('out'));
    assert.deepEqual(await ends(out), {
      state: FAILED,
      message: `${out.sandbox}/out leads out of the sandbox`,
    });
    isAsItWas();
    const inside = await launch(volume('in'));
    assert.equal((await ends(inside)).state, FINISHED, supervisorLog(host));
    assert.equal(await sandboxFile(inside, 'stdout'), 'inside');
    assert.ok(statSync(`${inside.sandbox}/release/planted`).isFile());
    for (const task of [out, inside]) await isGivenBack(task);
  });

  it('has files fetched as its owner, though something of root’s is in the place of its work directory', async () => {
    // Made by root in a container of his, say.
    const makeOther = (path: string): void => {
      mkdirSync(path);
      chmodSync(path, 0o777);
    };
    const uris = [{ value: web.page('/file', 'fetched') }, { value: `file://${keep}/secret` }];
    const states = await often({ name: 'fs', makeOther }, { uris, value: 'true' });
    assert.deepEqual(new Set(states), new Set([FAILED]));
  });

  it('is his again, though the supervisor is killed while it is not', async () => {
    for (let n = 0; n < 4; n++) {
      const task = await launch({ value: 'sleep 1; echo done' });
      const note = `${host.root}/mesos/${task.containerId}/held`;
      await until('it is held', () => existsSync(note) && lstatSync(task.sandbox).uid === 0, { everyMs: 1 });
      host.killSupervisorNow();
      assert.equal((await ends(task)).state, FINISHED, supervisorLog(host));
      assert.equal(await sandboxFile(task, 'stdout'), 'done\n');
      await isGivenBack(task);
      assert.ok(!existsSync(note));
      for (const name of ['fs', 'stdout', 'stderr'])
        assert.equal(lstatSync(`${task.sandbox}/${name}`).uid, NOBODY);
    }
  });
});
