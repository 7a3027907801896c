// A state root full of what others have left: thousands of states that are of no more use, and among them what is torn, is of
// another release, belongs to nobody, or is no state at all. None of it is fatal, none is touched, and what is new works.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { describe, it } from 'node:test';
import { decode } from '../../src/mesos/codec.ts';
import { Containers, TaskState } from '../../src/mesos/messages.ts';
import { output } from '../support/command.ts';
import { extent, FAULT_FILE_TIMEOUT_MS, tell } from '../support/faults.ts';
import { type Host, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import type { StandInSlave } from '../support/slave.ts';
import { commandTask } from '../support/tasks.ts';
import { withSupervisorLog } from '../support/told.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const { FINISHED, RUNNING } = TaskState;
const PATIENCE_MS = 60_000;
const STALE = extent(300, 5_000);
/** States whose request cannot be read. */
const UNREADABLE = 2;

const statesOf = (host: Host): string => `${host.root}/mesos`;

async function runOne(host: Host, slave: StandInSlave): Promise<string> {
  const task = await slave.launch(commandTask({ image: IMAGES.busybox, value: 'true' }));
  assert.equal((await task.ended(PATIENCE_MS)).state, FINISHED);
  assert.equal((await task.gone(PATIENCE_MS))?.status, 0);
  await until('removed', () => existsSync(`${statesOf(host)}/${task.containerId}/removed`));
  return task.containerId;
}

/** As many ended states as of tasks that really ended: a copy of one each, under an id and a time of its own. */
function copies(host: Host, of: string): void {
  for (let n = 0; n < STALE; n++) {
    const id = randomUUID();
    const time = `2026-01-01T00:00:00.${String(n).padStart(6, '0')}Z`;
    const directory = `${statesOf(host)}/${id}`;
    cpSync(`${statesOf(host)}/${of}`, directory, { recursive: true, verbatimSymlinks: true });
    writeFileSync(`${directory}/t`, `${time}\n`);
    writeFileSync(`${directory}/mesos-container-id`, `${id}\n`);
    symlinkSync(`../mesos/${id}`, `${host.root}/start-time/${time}`);
  }
}

/** What stays, by its name below mesos/. Requests that cannot be read come to an end and go, as their containers did. */
async function strange(host: Host, of: string): Promise<readonly string[]> {
  const at = (name: string): string => `${statesOf(host)}/${name}`;
  const copy = (fact: string, text: string): string => {
    const id = randomUUID();
    cpSync(at(of), at(id), { recursive: true, verbatimSymlinks: true });
    for (const name of ['termination', 'removed', 'delivered', 'outcome']) rmSync(at(`${id}/${name}`));
    writeFileSync(at(`${id}/${fact}`), text);
    return id;
  };
  const request: object = JSON.parse(readFileSync(at(`${of}/container.json`), 'utf8'));
  copy('container.json', JSON.stringify(request).slice(0, 100));
  const future = copy('container.json', JSON.stringify({ ...request, version: 99 }));
  copy('container.json', '');
  writeFileSync(at('a file'), 'of somebody else');
  mkdirSync(at('a directory'));
  symlinkSync('/etc', at('a link'));
  symlinkSync(`${host.root}/nowhere`, at(randomUUID()));
  await output(['mkfifo', at(randomUUID())]);
  // That of a Deimos of 2014: the ids, and no request.
  const old = randomUUID();
  mkdirSync(at(old));
  for (const fact of ['mesos-container-id', 'cid', 'eid']) writeFileSync(at(`${old}/${fact}`), `${old}\n`);
  return [future, old, 'a file', 'a directory', 'a link'];
}

describe('a state root full of stale entries', {
  skip: await skipWithoutTools(),
  timeout: FAULT_FILE_TIMEOUT_MS,
}, () => {
  it('what is new runs and ends, what is strange is left alone, and state --rm removes what has ended', async () => {
    await using host = await startHost();
    await withSupervisorLog(host, async () => {
      const slave = await host.slave();
      const first = await runOne(host, slave);
      await host.killSupervisor();
      const left = await strange(host, first);
      copies(host, first);
      const before = readdirSync(statesOf(host)).length;
      const running = await slave.launch(
        commandTask({ image: IMAGES.busybox, value: 'until [ -e go ]; do sleep 0.1; done' }),
        { checkpoint: true },
      );
      await running.reached(RUNNING, PATIENCE_MS);
      await until('acknowledged', () => slave.acknowledged.length > 2);
      await host.killSupervisor();
      // A slave that comes back asks for all of it.
      await slave.restart();
      await slave.reregistered(running, PATIENCE_MS);
      const listed = await slave.call('containers');
      const ids = decode(Containers, listed.answer ?? assert.fail()).containers.map(({ value }) => value);
      assert.ok(ids.includes(running.containerId));
      assert.ok(ids.length <= 1 + left.length + UNREADABLE, `${ids.length} containers`);
      const last = await runOne(host, slave);
      assert.equal((await host.deimos(['state'])).code, 0);
      assert.equal(readdirSync(statesOf(host)).length, before + 2);
      const { code, stderr } = await host.deimos(['state', '--rm']);
      assert.deepEqual([code, stderr], [0, '']);
      const kept = readdirSync(statesOf(host));
      for (const name of [...left, running.containerId]) assert.ok(kept.includes(name), name);
      for (const name of [first, last]) assert.ok(!kept.includes(name), name);
      assert.ok(kept.length <= left.length + 3 + UNREADABLE, `${kept.length} kept`);
      writeFileSync(`${running.sandbox}/fs/go`, '');
      assert.equal((await running.ended(PATIENCE_MS)).state, FINISHED);
      assert.equal((await running.gone(PATIENCE_MS))?.status, 0);
      tell(`stale states: ${STALE} of no use and ${left.length + 2 + UNREADABLE} strange ones, 0 failed`);
    });
  });
});
