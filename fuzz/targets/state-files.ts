// The state's files: whatever JSON stands in one, or none, a reader gives a value of its type, nothing, or a Fault of one line.
// What it gives can be answered to a slave.

import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { ending } from '../../src/container/termination.ts';
import { readJsonFact } from '../../src/host/facts.ts';
import { isNotedAlive, type NotedProcess, parseNoted, parseNotedCaller } from '../../src/host/processes.ts';
import { encodeTermination } from '../../src/mesos/task-view.ts';
import { lastUpdate, readLimits } from '../../src/state/limits.ts';
import {
  parseOutcome,
  parseRegistered,
  parseRequest,
  parseTermination,
  parseWaitSeen,
} from '../../src/state/records.ts';
import type { Random } from '../engine/random.ts';
import { scratchDirectory } from '../engine/scratch.ts';
import { attempt, checkKept, type Target } from '../engine/target.ts';

const NAMES = [
  ...[
    'version',
    'task',
    'config',
    'slaveId',
    'takesKilling',
    'by',
    'port',
    'pid',
    'startTime',
    'bootId',
    'waits',
    'knows',
  ],
  ...[
    'message',
    'killed',
    'reasons',
    'status',
    'state',
    'kind',
    'why',
    'exitCode',
    'oomKilled',
    'outside',
    'memoryLimitBytes',
  ],
  ...['cpus', 'memMb', 'atUs', 'toString', '__proto__', 'unseen'],
];
const TEXTS = [
  'exited',
  'failed',
  'lost',
  'never-started',
  'docker-signal',
  'a',
  '',
  '\u001b[31m',
  '12345678-1234-1234-1234-123456789abc',
];
/** Every so many cases: a file costs a hundred times what parsing costs. */
const IN_A_FILE = 16;

export function target(): Target {
  const directory = scratchDirectory();
  const limits = {
    limits: `${directory}/limits`,
    limitsCpus: `${directory}/cpus`,
    limitsMem: `${directory}/mem`,
  };
  return {
    dictionary: [
      ...NAMES.map((name) => `"${name}":`),
      ...TEXTS.map((text) => JSON.stringify(text)),
      ...[
        '{',
        '}',
        '[',
        ']',
        ',',
        'null',
        'true',
        'false',
        '1',
        '-1',
        '1e999',
        '-0',
        '0.5',
        '4294967296',
        '9007199254740993',
        '{}',
      ],
    ],
    make: (random) => Buffer.from(JSON.stringify(record(random))),
    run(input) {
      const text = input.toString('utf8');
      const value = parsed(text);
      checkRecords(value);
      if ((input.at(-2) ?? 0) % IN_A_FILE !== 0) return;
      for (const path of Object.values(limits)) writeFileSync(path, input);
      assert.deepEqual(readJsonFact(limits.limits), value);
      for (const found of [readLimits(limits), lastUpdate(limits)])
        for (const amount of [found?.cpus, found?.memMb])
          assert.ok(amount === undefined || (Number.isFinite(amount) && amount >= 0), `no amount: ${amount}`);
    },
    close: () => rmSync(directory, { recursive: true }),
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function checkRecords(value: unknown): void {
  attempt(['protocol'], () => parseRequest(value, '/state/container.json'));
  const registered = parseRegistered(value);
  if (registered !== undefined) {
    checkKept(registered);
    checkNoted(registered.by);
    const { port } = registered;
    assert.ok(
      port === undefined || (Number.isInteger(port) && port > 0 && port < 65_536),
      `no port: ${port}`,
    );
  }
  checkNoted(parseNoted(value));
  checkNoted(parseNotedCaller(value));
  const { slave, waits } = parseWaitSeen(value);
  for (const noted of [slave, ...waits]) checkNoted(noted);
  const termination = parseTermination(value);
  if (termination !== undefined) encodeTermination(termination);
  const outcome = parseOutcome(value);
  if (outcome === undefined) return;
  checkKept(outcome);
  const { reason, ...told } = ending(outcome, undefined);
  encodeTermination({ ...told, reasons: reason === undefined ? [] : [reason] });
}

function checkNoted(noted: NotedProcess | undefined): void {
  if (noted === undefined) return;
  assert.ok(Number.isSafeInteger(noted.pid) && noted.pid > 0, `no process: ${noted.pid}`);
  assert.ok(Number.isSafeInteger(noted.startTime) && noted.startTime >= 0, `no time: ${noted.startTime}`);
  if (noted.pid < 100) isNotedAlive(noted);
}

function record(random: Random): unknown {
  const noted = { pid: 1 + random.below(70_000), startTime: random.below(1e6), bootId: random.pick(TEXTS) };
  const own = Object.fromEntries(random.several(5, () => [random.pick(NAMES), json(random, 0)]));
  const usual = random.pick([
    { version: 1, task: {}, config: {} },
    { slaveId: 's', takesKilling: true, by: noted, port: 31_000 },
    { ...noted, waits: [noted], knows: true },
    { message: 'm', killed: false, reasons: [8], status: 256, state: 2 },
    { kind: 'exited', exitCode: random.below(256), oomKilled: random.oneIn(2), memoryLimitBytes: 2 ** 20 },
    { kind: random.pick(TEXTS), why: 'w' },
    { cpus: 0.5, memMb: 32, atUs: 1 },
  ]);
  return random.oneIn(3) ? usual : { ...usual, ...own };
}

function json(random: Random, depth: number): unknown {
  switch (random.below(depth > 2 ? 4 : 6)) {
    case 0:
      return random.pick([null, true, false]);
    case 1:
      return random.edge();
    case 2:
      return random.below(100) / 4;
    case 3:
      return random.pick(TEXTS);
    case 4:
      return random.several(3, () => json(random, depth + 1));
    default:
      return Object.fromEntries(random.several(3, () => [random.pick(NAMES), json(random, depth + 1)]));
  }
}
