// A service's supervisor has the environment that a call's starter gives: without it, it would grow larger.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { SUPERVISOR_ENVIRONMENT } from '../../../src/supervisor/starter.ts';

test('the unit gives the supervisor the environment that its starters do', () => {
  const unit = readFileSync(new URL('../../../debian/deimos.service', import.meta.url), 'utf8');
  const words = [...unit.matchAll(/^Environment=(.*)$/gm)].flatMap(([, line = '']) => line.split(' '));
  const given = Object.fromEntries(words.map((word) => word.split('=')));
  assert.deepEqual(given, { ...SUPERVISOR_ENVIRONMENT });
});
