// Whose login a task's own is: a file of the sandbox owner's, on a way that nobody else's directory is part of.

import assert from 'node:assert/strict';
import { chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseReference } from '../../../src/container/image.ts';
import type { Log } from '../../../src/host/log.ts';
import { taskLogin } from '../../../src/supervisor/task-login.ts';
import { NOBODY } from '../../support/exchange.ts';
import { requestOf } from '../../support/states.ts';
import { tempDirectory } from '../../support/temp.ts';

const nothing = () => {};
const SILENT: Log = { debug: nothing, info: nothing, warning: nothing, error: nothing };
const LOGIN = JSON.stringify({ 'one:5000': { auth: btoa('user:password') } });
const image = parseReference('one:5000/app');

test('a login is the sandbox owner’s, and not that of whoever owns what lies in the place of the work directory', async () => {
  await using directory = await tempDirectory();
  assert.ok(image.ok);
  const [sandbox, fs] = [directory.at('box'), directory.at('box', 'fs')];
  mkdirSync(fs, { recursive: true });
  writeFileSync(`${fs}/.dockercfg`, LOGIN);
  const request = requestOf('one');
  const of = { ...request, task: { ...request.task, sandbox } };
  const ask = async () => await taskLogin(of, image.image, SILENT);
  assert.ok((await ask()).login !== undefined, 'all is of one owner');
  chownSync(sandbox, NOBODY, NOBODY);
  assert.match((await ask()).unusable ?? '', /does not belong to the sandbox's owner/);
  chownSync(`${fs}/.dockercfg`, NOBODY, NOBODY);
  assert.ok((await ask()).login !== undefined);
});
