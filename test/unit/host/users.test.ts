// Users by name, asked of the host's own name service.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isFault } from '../../../src/fault.ts';
import { lookUpUser } from '../../../src/host/users.ts';

const never = new AbortController().signal;

test('a user of this host has an uid and a gid; one that is none is refused in words', async () => {
  assert.equal(await lookUpUser('root', never), '0:0');
  for (const name of ['no-such-user-here', '-h', '']) {
    await assert.rejects(lookUpUser(name, never), (error) => isFault(error, 'refused', 'host'), name);
  }
});
