// Programs of the supervisor: bounded, called off, and gone with all that they started.

import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { type ChildOptions, endLeftovers, lastLine, runChild } from '../../../src/host/child.ts';
import { bootId, identify } from '../../../src/host/processes.ts';
import { CHILD_ENVIRONMENT } from '../../../src/host/programs.ts';
import { outcomeOf } from '../../support/command.ts';
import { type TempDirectory, tempDirectory } from '../../support/temp.ts';
import { until } from '../../support/until.ts';

let temp: TempDirectory;
before(async () => {
  temp = await tempDirectory('ch-');
});
after(async () => await temp.remove());

const options = (changes: Partial<ChildOptions> = {}): ChildOptions => ({
  cwd: temp.path,
  env: CHILD_ENVIRONMENT,
  noteIn: temp.at('children'),
  signal: new AbortController().signal,
  ...changes,
});
const sh = (script: string): readonly string[] => ['/bin/sh', '-c', script];
const pidIn = (name: string): number | undefined => {
  const text = existsSync(temp.at(name)) ? readFileSync(temp.at(name), 'utf8').trim() : '';
  return text === '' ? undefined : Number(text);
};
/** A script that leaves a grandchild behind whose pid is in the file. */
const withGrandchild = (file: string, rest: string) =>
  sh(`sleep 1000 & echo $! > ${file}.tmp; mv ${file}.tmp ${file}; ${rest}`);

describe('a child', () => {
  it('tells its end, its words and nothing of our environment, and is no longer noted', async () => {
    const end = await runChild(sh('cat; env; echo no >&2; exit 3'), options({ input: 'in\n' }));
    assert.deepEqual([end.how, end.code, end.signal, end.stderr], ['ended', 3, null, 'no\n']);
    assert.match(end.stdout, /^in\n/);
    assert.doesNotMatch(end.stdout, /^(?!PATH=|LC_ALL=|PWD=|in$).+/m);
    assert.deepEqual(readdirSync(temp.at('children')), []);
  });

  it('keeps the last of many words', async () => {
    const end = await runChild(sh('i=0; while [ $i -lt 9000 ]; do echo $i; i=$((i+1)); done'), options());
    assert.ok(end.stdout.endsWith('\n8999\n'));
    assert.ok(end.stdout.length <= 16 * 1024);
  });

  it('is ended with its grandchildren at its bound', async () => {
    const end = await runChild(withGrandchild('late', 'wait'), options({ boundMs: 700 }));
    assert.deepEqual([end.how, end.signal], ['late', 'SIGKILL']);
    const pid = pidIn('late');
    assert.ok(pid !== undefined);
    await until('the grandchild is gone', () => identify(pid) === undefined);
  });

  it('is ended when nothing moves, and not while something does', async () => {
    const still = await runChild(sh('sleep 1000'), options({ stall: { ms: 300, bytes: () => 7 } }));
    assert.equal(still.how, 'stalled');
    let bytes = 0;
    const moving = await runChild(
      sh('sleep 1.5'),
      options({ stall: { ms: 1_000, bytes: () => (bytes += 1) } }),
    );
    assert.deepEqual([moving.how, moving.code], ['ended', 0]);
  });

  it('is ended with its grandchildren when called off, and the reason is thrown', async () => {
    const controller = new AbortController();
    const run = runChild(withGrandchild('off', 'wait'), options({ signal: controller.signal }));
    const pid = await until('started', () => pidIn('off'));
    const noted = readdirSync(temp.at('children'));
    assert.equal(noted.length, 1);
    controller.abort(new Error('called off'));
    await assert.rejects(run, /called off/);
    await until('the grandchild is gone', () => identify(pid) === undefined);
    assert.deepEqual(readdirSync(temp.at('children')), []);
  });

  it('takes with it what it left running when it ends by itself', async () => {
    const end = await runChild(withGrandchild('left', 'exit 0'), options());
    assert.equal(end.code, 0);
    const pid = pidIn('left');
    assert.ok(pid !== undefined);
    await until('the grandchild is gone', () => identify(pid) === undefined);
  });

  it('that is not there is an answer with words', async () => {
    const end = await runChild(['/no/such/program'], options());
    assert.equal(end.code, 127);
    assert.match(lastLine(end.stderr) ?? '', /no\/such\/program/);
  });

  it('in a directory that is not there is a fault', async () => {
    await assert.rejects(runChild(sh('true'), options({ cwd: temp.at('absent') })), {
      name: 'Fault',
      kind: 'host',
    });
  });
});

describe('what a supervisor that died had started', () => {
  it('is ended by the next one: the leader dies with it, grandchildren by their session', async () => {
    const script = `
      import { runChild } from ${JSON.stringify(new URL('../../../src/host/child.ts', import.meta.url).href)};
      void runChild(['/bin/sh', '-c', 'sleep 1000 & echo $! > orphan.tmp; mv orphan.tmp orphan; wait'], {
        cwd: ${JSON.stringify(temp.path)}, env: { PATH: '/usr/bin:/bin' },
        noteIn: ${JSON.stringify(temp.at('died'))}, signal: new AbortController().signal });
      const look = setInterval(async () => {
        const { existsSync } = await import('node:fs');
        if (existsSync(${JSON.stringify(temp.at('orphan'))})) process.kill(process.pid, 'SIGKILL');
      }, 20);`;
    const died = await outcomeOf([process.execPath, '--input-type=module', '-e', script]);
    assert.equal(died.signal, 'SIGKILL', died.stderr);
    const pid = pidIn('orphan');
    assert.ok(pid !== undefined && identify(pid) !== undefined, 'the grandchild outlived it');
    assert.ok(endLeftovers(temp.at('died')) >= 1);
    await until('the grandchild is gone', () => identify(pid) === undefined);
    assert.deepEqual(readdirSync(temp.at('died')), []);
    assert.equal(endLeftovers(temp.at('died')), 0);
  });

  it('is not mistaken for who has its number now, or had it before the host started anew', async () => {
    const self = identify(process.pid);
    assert.ok(self !== undefined);
    const directory = temp.at('children');
    const note = async (name: string, value: unknown) =>
      await writeFile(`${directory}/${name}`, JSON.stringify(value));
    await note('1', { pid: process.pid, startTime: self.startTime - 1, bootId: bootId() });
    await note('2', { pid: process.pid, startTime: self.startTime, bootId: 'another' });
    await writeFile(`${directory}/3`, '{"pid":');
    assert.equal(endLeftovers(directory), 0);
    assert.deepEqual(readdirSync(directory), []);
    assert.equal(endLeftovers(temp.at('never-made')), 0);
  });
});
