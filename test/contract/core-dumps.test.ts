// What the kernel keeps of a call that it dumps: nothing of what the call knew. Where it writes cores to is the whole
// machine's setting (core_pattern), which is not changed here.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { test } from 'node:test';
import type { Argv } from '../support/command.ts';
import { BINARY } from '../support/host.ts';
import { procFile, signalPid } from '../support/proc.ts';
import { tempDirectory } from '../support/temp.ts';
import { until } from '../support/until.ts';

const pattern = readFileSync('/proc/sys/kernel/core_pattern', 'utf8').trim();
const skip = /[|/]/.test(pattern) && `cores go to ${pattern} here`;

/** Gives `argv` a secret on a stdin that stays open, and has it dumped once it has the secret in its memory. */
async function dumpOf(argv: Argv, secret: string): Promise<{ readonly core: Buffer | undefined }> {
  await using directory = await tempDirectory();
  const child = spawn('prlimit', ['--core=unlimited', '--', ...argv], {
    cwd: directory.path,
    env: {},
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  const exited = once(child, 'exit');
  // The length of a record, of which the end does not come.
  child.stdin?.write(Buffer.from([0, 0, 16, 0]));
  child.stdin?.write(`first ${secret} last`);
  try {
    await until('it has the secret', () => isInMemory(child.pid ?? 0, secret));
    signalPid(child.pid ?? 0, 'SIGABRT');
    await exited;
    const name = readdirSync(directory.path).find((one) => one.startsWith('core'));
    return { core: name === undefined ? undefined : readFileSync(directory.at(name)) };
  } finally {
    child.kill('SIGKILL');
  }
}

function isInMemory(pid: number, text: string): boolean {
  const ranges = [...(procFile(pid, 'maps') ?? '').matchAll(/^([0-9a-f]+)-([0-9a-f]+) rw/gm)];
  let memory: number;
  try {
    memory = openSync(`/proc/${pid}/mem`, 'r');
  } catch {
    return false;
  }
  try {
    return ranges.some(([, from, to]) => {
      const [begin, end] = [Number.parseInt(from ?? '', 16), Number.parseInt(to ?? '', 16)];
      const buffer = Buffer.alloc(end - begin);
      try {
        return buffer.subarray(0, readSync(memory, buffer, 0, buffer.length, begin)).includes(text);
      } catch {
        return false;
      }
    });
  } finally {
    closeSync(memory);
  }
}

test('a core of a program without any care has its secret', { skip }, async () => {
  const secret = randomUUID();
  const program = "process.stdin.once('data', (data) => process.stdin.once('data', () => {}))";
  const { core } = await dumpOf([process.execPath, '-e', program], secret);
  assert.ok(core?.includes(secret));
});

for (const verb of ['launch', 'plan'])
  test(`a core of \`deimos ${verb}\` has nothing of a task in it`, { skip }, async () => {
    const secret = randomUUID();
    const { core } = await dumpOf([BINARY, '--config', '/dev/null', verb], secret);
    assert.ok(core !== undefined, 'there is a core');
    assert.ok(!core.includes(secret));
  });
