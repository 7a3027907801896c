// A program that cannot be started is one Fault with what is lacking, whichever way the runtime tells it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isFault } from '../../../src/fault.ts';
import { startProgram } from '../../../src/host/start.ts';
import { outcomeOf } from '../../support/command.ts';
import { startSyslog } from '../../support/syslog.ts';

const HOST = new URL('../../../src/host/', import.meta.url).pathname;

/** A program that has as many files open as it may when it runs `body`. */
const withoutFiles = (imports: string, body: string): readonly [string, ...string[]] => [
  ...(['prlimit', '--nofile=64:64', process.execPath, '--input-type=module', '-e'] as const),
  `import { openSync, writeSync } from 'node:fs';
  ${imports}
  try { for (;;) openSync('/dev/null', 'r'); } catch {}
  ${body}`,
];

test('what runs has its pid and its streams, and its end is not missed', async () => {
  const child = await startProgram('it', ['/bin/sh', '-c', 'exit 3'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  assert.ok(child.pid !== undefined && child.stdout !== null);
  assert.equal(await new Promise((resolve) => child.once('exit', resolve)), 3);
});

test('what is not there is a fault of the host that names it', async () => {
  await assert.rejects(startProgram('the tool', ['/no/such/tool'], {}), (error) => {
    assert.ok(isFault(error, 'host'));
    assert.equal(error.message, 'cannot start the tool: spawn /no/such/tool ENOENT');
    return true;
  });
});

test('where no more files may be opened, that is said', async () => {
  const body = `await startProgram('the tool', ['/bin/true'], { stdio: ['ignore', 'pipe', 'pipe'] })
    .catch((error) => writeSync(1, [error.kind, error.message].join(': ')));`;
  const { stdout } = await outcomeOf(withoutFiles(`import { startProgram } from '${HOST}start.ts';`, body));
  assert.equal(
    stdout.toString(),
    'host: cannot start the tool: this process may not open any more files (EMFILE)',
  );
});

test('where logger(1) cannot be started for want of files, a line is lost and nothing else', async () => {
  await using syslog = await startSyslog();
  const body = "syslogStream('info').info('event'); setTimeout(() => writeSync(1, 'lives'), 50);";
  const [file, ...words] = syslog.wrap(
    withoutFiles(`import { syslogStream } from '${HOST}log-sinks.ts';`, body),
  );
  const { stdout, stderr } = await outcomeOf([file, ...words]);
  assert.equal(stdout.toString(), 'lives', stderr);
});
