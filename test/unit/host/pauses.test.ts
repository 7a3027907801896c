import assert from 'node:assert/strict';
import { test } from 'node:test';
import { persist, rest } from '../../../src/host/pauses.ts';

const silent = { debug() {}, info() {}, warning() {}, error() {}, critical() {} };

test("a rest that is cut short throws the signal's own reason, so that whoever aborted knows it again", async () => {
  const reason = new DOMException('the attach ended', 'AbortError');
  for (const when of ['before', 'during'] as const) {
    const controller = new AbortController();
    if (when === 'before') controller.abort(reason);
    const resting = rest(60_000, controller.signal);
    controller.abort(reason);
    await assert.rejects(resting, (error) => error === reason, when);
  }
});

test('what may pass is tried until it works, what does not is thrown at once', async () => {
  const { signal } = new AbortController();
  let tries = 0;
  const work = async () => {
    tries += 1;
    if (tries < 3) throw new Error(`try ${tries}`);
    return tries;
  };
  const options = { signal, log: silent, what: 'working', mayPass: () => true };
  assert.equal(await persist(work, options), 3);
  tries = 0;
  await assert.rejects(persist(work, { ...options, mayPass: () => false }), /try 1/);
  tries = 0;
  await assert.rejects(persist(work, { ...options, boundMs: 0 }), /try 1/);
});
