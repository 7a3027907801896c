// That steps.c counts what a program changes, all of it and nothing else, kills it when a step has taken effect, and refuses
// what it is told to, for so long: the tests of faults stand on that.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { outcomeOf } from '../../support/command.ts';
import {
  ENOSPC,
  EROFS,
  PROCESSES,
  SOCKETS,
  type Step,
  type StepFault,
  stepsIn,
  stepsProgram,
  underSteps,
} from '../../support/steps.ts';
import { tempDirectory } from '../../support/temp.ts';
import { skipWithoutTools } from '../../support/tools.ts';

const SIGKILLED = 128 + 9;
const FAILS_FOR_MS = 300;

/** Six steps: what is opened to be read, or lies elsewhere, is none. `fs` alone, so that each call is made once and in this order. */
const SIX = `
  const { mkdirSync, writeFileSync, appendFileSync, renameSync, readFileSync, unlinkSync } = require('node:fs');
  writeFileSync(outside + '/a', 'x');
  mkdirSync(inside + '/d');
  writeFileSync(inside + '/d/a', 'x');
  readFileSync(inside + '/d/a');
  renameSync(inside + '/d/a', inside + '/b');
  renameSync(inside + '/b', outside + '/b');
  writeFileSync(inside + '-beside', 'x');
  unlinkSync(outside + '/a');
  mkdirSync(inside + '/e');
  process.exit(7);
`;
const ITS_STEPS = ['mkdir d', 'create d/a', 'write d/a', 'rename b', 'mkdir e'];

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly steps: readonly Step[];
  /** Call and path below the watched directory. */
  readonly calls: readonly string[];
  /** What there is in the watched directory. */
  readonly left: readonly string[];
  /** Of its file `a`. */
  readonly content: string;
}

/** Runs `body` in the runtime, with the names of two directories of which one is watched. */
async function run(
  body: string,
  options: { readonly fault?: StepFault; readonly under?: readonly string[] } = {},
): Promise<Ran> {
  await using directory = await tempDirectory('steps-');
  const [inside, outside, log] = ['inside', 'outside', 'log'].map((name) => directory.at(name));
  assert.ok(inside && outside && log);
  for (const path of [inside, outside]) mkdirSync(path);
  const text = `const [inside, outside] = ${JSON.stringify([inside, outside])};\n${body}`;
  const { fault, under = [] } = options;
  const counted = { under: [inside, ...under], log, ...(fault === undefined ? {} : { fault }) };
  const argv = underSteps(await stepsProgram(), counted, [process.execPath, '-e', text]);
  const { code, stdout } = await outcomeOf(argv);
  const steps = stepsIn(log);
  return {
    ...{ code, steps, stdout: stdout.toString() },
    calls: steps.map(({ call, path }) => `${call} ${path.replace(`${inside}/`, '')}`),
    left: readdirSync(inside, { recursive: true }).map(String).sort(),
    content: existsSync(`${inside}/a`) ? readFileSync(`${inside}/a`, 'utf8') : '',
  };
}

describe('the steps of a program', { skip: await skipWithoutTools() }, () => {
  it('are its changes below the watched directory, in their order, and no others', async () => {
    const { code, calls, steps } = await run(SIX);
    assert.equal(code, 7);
    assert.deepEqual(calls, ITS_STEPS);
    assert.deepEqual(
      steps.map(({ number, failed }) => [number, failed]),
      ITS_STEPS.map((_, n) => [n + 1, false]),
    );
  });

  it('have taken effect, and nothing after them, when it is killed at one', async () => {
    const expected = [['d'], ['d', 'd/a'], ['d', 'd/a'], ['b', 'd'], ['d', 'e']];
    for (const [n, left] of expected.entries()) {
      const ran = await run(SIX, { fault: { at: n + 1, kill: true } });
      assert.equal(ran.code, SIGKILLED);
      assert.deepEqual(ran.left, left, ITS_STEPS[n]);
      assert.deepEqual(ran.calls, ITS_STEPS.slice(0, n + 1));
    }
  });

  it('are complete, and it ends by itself, when it is to be killed at one that does not come', async () => {
    const { code, calls } = await run(SIX, { fault: { at: ITS_STEPS.length + 1, kill: true } });
    assert.deepEqual([code, calls], [7, ITS_STEPS]);
  });

  it('are each write by itself: those up to the one at which it is killed are in the file', async () => {
    const body = `const fs = require('node:fs');
      const fd = fs.openSync(inside + '/a', 'w');
      for (const text of ['one ', 'two ', 'three ']) fs.writeSync(fd, text);`;
    const { calls, content } = await run(body, { fault: { at: 3, kill: true } });
    assert.deepEqual(calls, ['create a', 'write a', 'write a']);
    assert.equal(content, 'one two ');
  });

  it('are those of all its threads, and not those of its children', async () => {
    const { code, calls, left } = await run(`
      const { spawnSync } = require('node:child_process');
      spawnSync('/bin/sh', ['-c', 'echo x >' + inside + '/child']);
      // Carried out by a thread of the runtime's pool.
      require('node:fs').promises.mkdir(inside + '/thread');`);
    assert.equal(code, 0);
    assert.deepEqual(left, ['child', 'thread']);
    assert.deepEqual(calls, ['mkdir thread']);
  });

  it('are the starts of other processes and what is written to sockets, where that is wanted', async () => {
    const body = `
      const { once } = require('node:events');
      const net = require('node:net');
      require('node:child_process').spawnSync('/bin/true');
      const server = net.createServer((socket) => socket.end()).listen(inside + '/s', async () => {
        const socket = net.connect(inside + '/s').resume();
        socket.write('x');
        await once(socket, 'close');
        server.close();
      });`;
    const callsOf = async (...under: readonly string[]): Promise<readonly string[]> =>
      (await run(body, { under })).calls.map((call) => call.replace(/\[\d+\]$/, ''));
    // The server removes its socket when it closes.
    assert.deepEqual(await callsOf(), ['bind s', 'connect s', 'unlink s']);
    assert.deepEqual(await callsOf(PROCESSES), ['start process:', 'bind s', 'connect s', 'unlink s']);
    const withSockets = await callsOf(SOCKETS);
    assert.deepEqual(
      withSockets.filter((call) => call !== 'write socket:'),
      ['bind s', 'connect s', 'unlink s'],
    );
    assert.ok(withSockets.indexOf('write socket:') > withSockets.indexOf('connect s'));
  });

  /** Tries until it works, and says what it met. */
  const tries = (work: string): string => `
    const fs = require('node:fs');
    const met = [];
    const attempt = () => {
      try {
        ${work}
        console.log([...new Set(met)].join());
      } catch (error) {
        met.push(error.code);
        setTimeout(attempt, 20);
      }
    };
    attempt();`;

  it('are refused from one on for a while, without effect, and go on after that', async () => {
    const fault = { at: 2, errno: ENOSPC, forMs: FAILS_FOR_MS };
    const ran = await run(
      tries(`fs.mkdirSync(inside + '/d', { recursive: true }); fs.mkdirSync(inside + '/e');`),
      {
        fault,
      },
    );
    assert.equal(ran.stdout, 'ENOSPC\n');
    assert.deepEqual(ran.left, ['d', 'e']);
    const failed = ran.steps.filter((step) => step.failed);
    assert.ok(failed.length > 1);
    assert.deepEqual([ran.steps[0]?.failed, ran.steps.at(-1)?.failed], [false, false]);
    assert.equal(failed[0]?.number, 2);
  });

  it('that remove something have no need of room, and cannot be taken on what is read-only', async () => {
    const body = tries(`
      if (!fs.existsSync(outside + '/begun')) {
        fs.writeFileSync(outside + '/begun', '');
        fs.mkdirSync(inside + '/d');
      }
      fs.rmdirSync(inside + '/d');`);
    const at = { at: 2, forMs: FAILS_FOR_MS };
    const full = await run(body, { fault: { ...at, errno: ENOSPC } });
    assert.deepEqual([full.stdout, full.left], ['\n', []]);
    const readOnly = await run(body, { fault: { ...at, errno: EROFS } });
    assert.deepEqual([readOnly.stdout, readOnly.left], ['EROFS\n', []]);
  });

  it('that make what is there already are not refused, but for writing where all is read-only', async () => {
    const body = `
      const fs = require('node:fs');
      const { O_RDONLY, O_RDWR, O_CREAT } = fs.constants;
      const refused = [];
      const attempt = (work) => {
        try {
          work();
        } catch (error) {
          refused.push(error.code);
        }
      };
      fs.writeFileSync(inside + '/a', '');
      attempt(() => fs.mkdirSync(inside));
      attempt(() => fs.openSync(inside + '/a', O_RDONLY | O_CREAT));
      attempt(() => fs.openSync(inside + '/a', O_RDWR | O_CREAT));
      attempt(() => fs.openSync(inside + '/b', O_RDONLY | O_CREAT));
      console.log(refused.join());`;
    // Behind the file that is made first.
    const at = { at: 2, forMs: 60_000 };
    assert.equal((await run(body, { fault: { ...at, errno: ENOSPC } })).stdout, 'EEXIST,ENOSPC\n');
    assert.equal((await run(body, { fault: { ...at, errno: EROFS } })).stdout, 'EEXIST,EROFS,EROFS\n');
  });

  it('say that the program could not be started, or was ended by a signal', async () => {
    await using directory = await tempDirectory('steps-');
    const under = async (...argv: readonly [string, ...string[]]): Promise<number | null> =>
      (
        await outcomeOf(
          underSteps(await stepsProgram(), { under: ['/nowhere'], log: directory.at('log') }, argv),
        )
      ).code;
    assert.equal(await under(directory.at('none')), 255);
    assert.equal(await under('/bin/sh', '-c', 'kill -TERM $$'), 128 + 15);
    assert.equal(await under('/bin/sh', '-c', 'exit 5'), 5);
    assert.deepEqual(stepsIn(directory.at('none')), []);
  });
});
