import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  DaemonRefusal,
  dockerFault,
  isDaemonAway,
  mayPass,
  TlsFileError,
} from '../../../src/docker/faults.ts';
import { Fault } from '../../../src/fault.ts';

const system = (code: string) => Object.assign(new Error(`connect ${code}`), { code });

test('a status is a kind, the words are the daemon’s on one line', () => {
  const kinds = [400, 403, 404, 409, 500, 503].map(
    (status) => dockerFault(new DaemonRefusal(status, 'x'), 'do').kind,
  );
  assert.deepEqual(kinds, ['refused', 'refused', 'not-found', 'conflict', 'docker', 'docker']);
  assert.equal(dockerFault(new DaemonRefusal(500, 'two\nlines '), 'do').message, 'do: two\\nlines');
});

test("an error of dockerode's own keeps the daemon's words", () => {
  const error = Object.assign(new Error('(HTTP code 404) no such thing - gone '), {
    statusCode: 404,
    json: { message: 'gone' },
  });
  const fault = dockerFault(error, 'do');
  assert.deepEqual([fault.kind, fault.message], ['not-found', 'do: gone']);
});

test('a daemon that is away is told from one that refuses', () => {
  for (const code of ['ECONNREFUSED', 'ENOENT', 'ECONNRESET']) {
    assert.ok(isDaemonAway(system(code)), code);
    assert.ok(isDaemonAway(dockerFault(system(code), 'do')), code);
    assert.equal(dockerFault(system(code), 'do').kind, 'docker');
  }
  assert.ok(!isDaemonAway(system('EACCES')));
  assert.ok(!isDaemonAway(new DaemonRefusal(500, 'x')));
  assert.ok(!isDaemonAway(dockerFault(new DaemonRefusal(500, 'x'), 'do')));
  assert.ok(!isDaemonAway(undefined));
});

test('a file or a program that is missing is no daemon that is away', () => {
  assert.ok(!isDaemonAway(new Fault('config', 'cannot read the certificate', system('ENOENT'))));
  assert.ok(!isDaemonAway(new Fault('host', 'cannot run the docker CLI', system('ENOENT'))));
});

test('a file that TLS lacks just now may pass, and is no daemon that is away; what another setting says may not', () => {
  const fault = new Fault('config', 'the key does not fit', new TlsFileError('key values mismatch'));
  assert.deepEqual([mayPass(fault), isDaemonAway(fault)], [true, false]);
  assert.ok(!mayPass(new Fault('config', 'no credentials', system('ENOENT'))));
});

test('a fault stays what it is', () => {
  const fault = new Fault('timeout', 'x');
  assert.equal(dockerFault(fault, 'do'), fault);
});
