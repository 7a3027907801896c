import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseOsRelease } from '../../../src/host/os-release.ts';

test('os-release is read as the shell would: quotes of both kinds or none, escapes, comments, the last wins', () => {
  const text = [
    '# a comment with ID=nothing',
    'PRETTY_NAME="A \\"pretty\\" name"',
    "ID='debian'",
    '',
    'VERSION_ID=11',
    'VERSION_ID="12"  ',
    'VERSION_CODENAME=',
    'HOME_URL="https://example.test/"',
    'not an assignment',
  ];
  const expected = { id: 'debian', versionId: '12', prettyName: 'A "pretty" name' };
  assert.deepEqual(parseOsRelease(text.join('\n')), expected);
  assert.deepEqual(parseOsRelease(text.join('\r\n')), expected);
  assert.deepEqual(parseOsRelease(''), {});
});
