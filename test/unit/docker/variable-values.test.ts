// Which words of a task's options are variables, told as Docker's own client tells them, and when in doubt taken for one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hideValues, shownOptions } from '../../../src/docker/variable-values.ts';

test('a value is masked however the variable is spelled', () => {
  const table: readonly (readonly [options: readonly string[], shown: string])[] = [
    [['-e', 'A=s'], '-e A=***'],
    [['-eA=s'], '-eA=***'],
    [['-e=A=s'], '-e=A=***'],
    [['--env', 'A=s'], '--env A=***'],
    [['--env=A=s'], '--env=A=***'],
    [['-ite', 'A=s'], '-ite A=***'],
    [['-iteA=s'], '-iteA=***'],
    [['-e', 'a.b-c=s=t'], '-e a.b-c=***'],
    [['-ea.b-c=s=t'], '-ea.b-c=***'],
    [['-e', '=s'], '-e =***'],
    [['-e', '--privileged=s'], '-e --privileged=***'],
    [['-it', '--rm', '--env', 'A=s'], '-it --rm --env A=***'],
    // A later client's options that take no value.
    [['--new', '-e', 'A=s', '-e', 'B=t'], '--new -e A=*** -e B=***'],
    [['--new', '-eA=s', '--new', '--env=B=t'], '--new -eA=*** --new --env=B=***'],
    [['-z', '-e', 'A=s', '-zeB=t'], '-z -e A=*** -zeB=***'],
    // Refused, but told first.
    [['--', '-e', 'A=s'], '-- -e A=***'],
    [['stray', '-e', 'A=s', '-eB=t'], 'stray -e A=*** -eB=***'],
  ];
  for (const [options, shown] of table) {
    assert.equal(shownOptions(options), shown);
    const { words } = hideValues(options);
    assert.ok(!words.some((word) => /=[st](?:=|$)/.test(word)), words.join(' '));
  }
});

test('what is no variable stays as it is', () => {
  for (const options of [
    ['-e', 'A'],
    ['-e', 'A='],
    ['--env-file', '/a=b'],
    ['--label', 'a=b'],
    ['-la=b'],
    ['-venv=a:/b'],
    ['-mes=1'],
    ['--label', '-e', '--memory=1g'],
    ['--label=-e', '--memory=1g'],
    ['-l', '--env', '-m=1g'],
    ['--env=A', '--memory=1g'],
    ['-it=true', '-m=1g'],
  ])
    assert.deepEqual(hideValues(options).words, options);
});

test('values come back into JSON texts as they were, and into no other text', () => {
  const values = [
    'plain',
    'a=b',
    '"quoted"',
    'two\nlines',
    '$&$1',
    '\\',
    'ä€😀',
    '\u2028',
    '{"Env":[]}',
    '***',
  ];
  const options = values.flatMap((value, n) => ['-e', `A${n}=${value}`]);
  const hidden = hideValues(options);
  for (const value of values) assert.ok(!hidden.words.some((word) => word.endsWith(`=${value}`)));
  const Env = hidden.words.filter((word) => word !== '-e');
  const json = JSON.stringify({ Env, Labels: { [Env[1] ?? '']: 'key' } });
  assert.deepEqual(JSON.parse(hidden.reveal(json)), {
    Env: values.map((value, n) => `A${n}=${value}`),
    Labels: { 'A1=a=b': 'key' },
  });
  assert.equal(hidden.mask(`invalid: "${Env[0]}" and ${Env[10] ?? Env[9]}`), 'invalid: "A0=***" and A9=***');
});

test('each time other words stand in the place of values', () => {
  assert.notDeepEqual(hideValues(['-e', 'A=s']).words, hideValues(['-e', 'A=s']).words);
});
