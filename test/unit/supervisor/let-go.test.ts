// The end of a supervisor that something holds up, in a process of its own.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { tryLock } from '../../../src/host/flock.ts';
import { output } from '../../support/command.ts';
import { tempDirectory } from '../../support/temp.ts';

const url = (path: string): string => JSON.stringify(new URL(`../../../src/${path}`, import.meta.url).href);

/** Takes the lock, then has `work` to end. */
const program = (lock: string, work: string): string => `
  import { open } from 'node:fs/promises';
  import { tryLock } from ${url('host/flock.ts')};
  import { letGoOrDie } from ${url('supervisor/let-go.ts')};
  const say = () => {};
  const log = { debug: say, info: say, warning: say, error: (text) => console.log(text) };
  await tryLock(${JSON.stringify(lock)});
  await letGoOrDie(${work}, log, 300);
  process.exit(0);
`;

async function runs(source: string): Promise<{ readonly end: unknown; readonly told: string }> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let told = '';
  child.stdout.on('data', (bytes: Buffer) => {
    told += bytes.toString();
  });
  const [code, signal] = await once(child, 'close');
  return { end: code ?? signal, told };
}

describe('a supervisor that lets go', { timeout: 60_000 }, () => {
  it('kills itself where a call into a file system does not return, and its lock is free', async () => {
    await using directory = await tempDirectory();
    const [fifo, lock] = [directory.at('fifo'), directory.at('lock')];
    await output(['mkfifo', fifo]);
    // Nobody reads it: the call holds its thread until the process is killed, also against an exit.
    const { end, told } = await runs(program(lock, `open(${JSON.stringify(fifo)}, 'w').then(() => {})`));
    assert.equal(end, 'SIGKILL');
    assert.match(told, /does not let go/);
    using taken = await tryLock(lock);
    assert.ok(taken !== undefined);
  });

  it('ends by itself where all is let go', async () => {
    await using directory = await tempDirectory();
    const { end, told } = await runs(program(directory.at('lock'), 'Promise.resolve()'));
    assert.deepEqual([end, told], [0, '']);
  });
});
