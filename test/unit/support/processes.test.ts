// That the tests' view of /proc sees what is there and does not see what is in a container.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { outcomeOf } from '../../support/command.ts';
import { isAlive, killAll, statOf, treeOf } from '../../support/proc.ts';
import { processesOf, startSampler } from '../../support/processes.ts';
import { tempDirectory } from '../../support/temp.ts';
import { until } from '../../support/until.ts';

describe('processesOf', () => {
  it('finds a program by its executable and a flock that will start it', async () => {
    await using directory = await tempDirectory();
    const program = directory.at('program');
    await copyFile('/bin/sleep', program);
    const running = spawn('setpriv', ['--pdeathsig', 'KILL', program, '60'], { env: { COLOUR: 'red' } });
    const lock = directory.at('lock');
    const holder = spawn('setpriv', ['--pdeathsig', 'KILL', 'flock', '--no-fork', lock, 'sleep', '60']);
    await until('the lock is held', async () => (await outcomeOf(['flock', '-n', lock, 'true'])).code === 1);
    const waiter = spawn('setpriv', ['--pdeathsig', 'KILL', 'flock', '--no-fork', lock, program, '1']);
    const found = await until('both', () => {
      const all = processesOf(program);
      return all.length === 2 && all;
    });
    const kinds = new Map(found.map((process) => [process.pid, process]));
    assert.equal(kinds.get(running.pid ?? 0)?.kind, 'program');
    assert.deepEqual(kinds.get(running.pid ?? 0)?.environ, ['COLOUR=red']);
    assert.deepEqual(kinds.get(running.pid ?? 0)?.argv, [program, '60']);
    assert.equal(kinds.get(waiter.pid ?? 0)?.kind, 'flock');
    for (const one of found) assert.ok(one.pssBytes > 4096 && one.pssBytes < 50_000_000, `${one.pssBytes}`);
    await killAll([running, holder, waiter].flatMap((child) => child.pid ?? []));
    assert.deepEqual(processesOf(program), []);
  });
});

describe('startSampler', () => {
  it('catches a program of 50 ms with a secret in its argv or environment, and nothing else', async () => {
    const [inArgv, inEnviron, nowhere] = [1, 2, 3].map(() => randomBytes(12).toString('hex'));
    assert.ok(inArgv && inEnviron && nowhere);
    await using sampler = await startSampler([inArgv, inEnviron, nowhere]);
    const program = ['sh', '-c', 'sleep 0.05', inArgv] as const;
    await outcomeOf(program, { env: { PATH: '/usr/bin:/bin', SECRET: `x${inEnviron}x` } });
    const { hits, scans } = await sampler.stop();
    assert.ok(scans > 3);
    assert.deepEqual(new Set(hits.map((hit) => hit.secret)), new Set([inArgv, inEnviron]));
    assert.ok(
      hits.some((hit) => hit.where === 'argv' && hit.secret === inArgv && hit.argv.includes('sleep 0.05')),
    );
    assert.ok(hits.some((hit) => hit.where === 'environ' && hit.secret === inEnviron));
  });

  it('passes over processes in another pid namespace', { skip: process.getuid?.() !== 0 }, async () => {
    const secret = randomBytes(12).toString('hex');
    await using sampler = await startSampler([secret]);
    await outcomeOf(['unshare', '--pid', '--fork', 'sh', '-c', `exec env SECRET=$(cat) sleep 0.2`], {
      input: secret,
    });
    assert.deepEqual((await sampler.stop()).hits, []);
  });
});

describe('proc', () => {
  it('knows parents, sessions and the end of a process', async () => {
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'sh', '-c', 'sleep 60 & wait'], {
      detached: true,
    });
    const pid = child.pid ?? 0;
    const tree = await until('the grandchild', () => {
      const pids = treeOf([pid]);
      return pids.length === 2 && pids;
    });
    assert.equal(statOf(pid)?.parent, process.pid);
    assert.equal(statOf(pid)?.session, pid);
    assert.equal(statOf(tree[1] ?? 0)?.parent, pid);
    await killAll(tree);
    assert.ok(!tree.some(isAlive));
  });
});
