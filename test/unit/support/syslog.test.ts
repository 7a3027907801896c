// That what logger(1) says inside the wrap reaches the receiver, whole, and that nothing outside sees a difference.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { output } from '../../support/command.ts';
import { startSyslog } from '../../support/syslog.ts';
import { until } from '../../support/until.ts';

describe('a syslog of the tests', {
  skip: process.getuid?.() === 0 ? false : 'a mount namespace needs root',
}, () => {
  it('receives what logger(1) sends, with priority, tag and pid', async () => {
    const before = { log: existsSync('/dev/log'), mounts: readFileSync('/proc/self/mountinfo', 'utf8') };
    await using syslog = await startSyslog();
    const long = `${'x'.repeat(900)} ends`;
    await output(syslog.wrap(['logger', '--id=77', '-t', 'deimos', '-p', 'daemon.warning', long]));
    const message = await until('the message', () => syslog.messages[0]);
    const { facility, severity, tag, pid, text } = message;
    assert.deepEqual(
      { facility, severity, tag, pid, text },
      { facility: 3, severity: 4, tag: 'deimos', pid: 77, text: long },
    );
    assert.equal(existsSync('/dev/log'), before.log);
    assert.equal(readFileSync('/proc/self/mountinfo', 'utf8'), before.mounts);
  });

  it('leaves the devices usable inside', async () => {
    await using syslog = await startSyslog();
    const script =
      'echo x > /dev/null && head -c 4 /dev/urandom > /dev/null && test -L /dev/stdout && echo usable';
    assert.equal(await output(syslog.wrap(['sh', '-c', script])), 'usable');
  });
});
