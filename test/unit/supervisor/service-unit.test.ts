// A service's supervisor has what a call's starter gives it: the environment, without which it would grow larger, and no cores.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { SUPERVISOR_ENVIRONMENT } from '../../../src/supervisor/starter.ts';

const unit = readFileSync(new URL('../../../debian/deimos.service', import.meta.url), 'utf8');

test('the unit gives the supervisor the environment that its starters do', () => {
  const words = [...unit.matchAll(/^Environment=(.*)$/gm)].flatMap(([, line = '']) => line.split(' '));
  const given = Object.fromEntries(words.map((word) => word.split('=')));
  assert.deepEqual(given, { ...SUPERVISOR_ENVIRONMENT });
});

test('the unit lets the supervisor leave no core', () => {
  assert.match(unit, /^LimitCORE=0$/m);
});
