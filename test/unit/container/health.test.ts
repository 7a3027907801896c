import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { LONGEST_MS } from '../../../src/container/duration.ts';
import {
  boundedWords,
  type CheckResult,
  firstPauseMs,
  type Health,
  INTERVAL_MS_MIN,
  isFine,
  judge,
  planHealth,
  TIMEOUT_MS_MIN,
} from '../../../src/container/health.ts';
import type { Command, HealthCheck } from '../../../src/container/task.ts';

const COMMAND: Command = { value: 'true', shell: true, arguments: [], environment: [], uris: [] };
const CHECK: HealthCheck = {
  command: COMMAND,
  delaySeconds: 15,
  intervalSeconds: 10,
  timeoutSeconds: 20,
  consecutiveFailures: 3,
  gracePeriodSeconds: 10,
};

function planOf(check: Partial<HealthCheck>) {
  const plan = planHealth({ ...CHECK, ...check });
  assert.ok(plan.ok, 'it can be carried out');
  return plan;
}

function refusalOf(check: HealthCheck): string {
  const plan = planHealth(check);
  assert.ok(!plan.ok, 'it cannot be carried out');
  return plan.why;
}

describe('the terms of a health check', () => {
  it('are in milliseconds', () => {
    const { terms, remarks } = planOf({ delaySeconds: 0.25, intervalSeconds: 2.3 });
    assert.deepEqual(remarks, []);
    assert.deepEqual(terms, {
      probe: { kind: 'command', argv: ['/bin/sh', '-c', 'true'], environment: [] },
      delayMs: 250,
      intervalMs: 2300,
      timeoutMs: 20_000,
      graceMs: 10_000,
      failuresMax: 3,
    });
  });

  it('are bounded, and say so', () => {
    const { terms, remarks } = planOf({
      delaySeconds: 1e300,
      intervalSeconds: 0,
      timeoutSeconds: 0.001,
      consecutiveFailures: 0,
    });
    assert.deepEqual(
      [terms.delayMs, terms.intervalMs, terms.timeoutMs, terms.failuresMax],
      [LONGEST_MS, INTERVAL_MS_MIN, TIMEOUT_MS_MIN, 1],
    );
    assert.deepEqual(remarks, [
      `delay_seconds is 1e+300: ${LONGEST_MS / 1000} is used`,
      `interval_seconds is 0: ${INTERVAL_MS_MIN / 1000} is used`,
      `timeout_seconds is 0.001: ${TIMEOUT_MS_MIN / 1000} is used`,
    ]);
  });

  it('are the defaults where a number makes no sense, and say so', () => {
    const { terms, remarks } = planOf({
      delaySeconds: -1,
      intervalSeconds: null,
      timeoutSeconds: 0,
      gracePeriodSeconds: Number.NaN,
    });
    assert.deepEqual(
      [terms.delayMs, terms.intervalMs, terms.timeoutMs, terms.graceMs],
      [15_000, 10_000, 20_000, 10_000],
    );
    assert.deepEqual(remarks, [
      'delay_seconds is -1: 15 is used',
      'interval_seconds is no finite number: 10 is used',
      'timeout_seconds is 0: 20 is used',
      'grace_period_seconds is no finite number: 10 is used',
    ]);
  });

  it('are such as every timer takes, whatever is sent, and still so after they were kept as JSON', () => {
    const seconds = fc.oneof(fc.double(), fc.constantFrom(0, -0, 1e-9, 2 ** 31));
    fc.assert(
      fc.property(
        seconds,
        seconds,
        seconds,
        seconds,
        fc.nat(),
        (delay, interval, timeout, grace, failures) => {
          const check = {
            ...CHECK,
            delaySeconds: delay,
            intervalSeconds: interval,
            timeoutSeconds: timeout,
            gracePeriodSeconds: grace,
            consecutiveFailures: failures,
          };
          const { terms } = planOf(check);
          const { delayMs, intervalMs, timeoutMs, graceMs } = terms;
          for (const ms of [delayMs, intervalMs, timeoutMs, graceMs])
            assert.ok(Number.isInteger(ms) && ms >= 0 && ms <= LONGEST_MS, `${ms}`);
          assert.ok(intervalMs >= INTERVAL_MS_MIN && timeoutMs >= TIMEOUT_MS_MIN && terms.failuresMax >= 1);
          assert.deepEqual(planOf(JSON.parse(JSON.stringify(check))).terms, terms);
        },
      ),
    );
  });

  it('of a command without a shell are its words, with its own variables', () => {
    const command: Command = {
      ...COMMAND,
      value: '/probe',
      shell: false,
      arguments: ['-x', 'a b'],
      environment: [['A', 'b=c']],
    };
    assert.deepEqual(planOf({ command }).terms.probe, {
      kind: 'command',
      argv: ['/probe', '-x', 'a b'],
      environment: ['A=b=c'],
    });
  });

  it('of http are fit for a request line', () => {
    const probe = (path: string) => planOf({ http: { port: 80, path, statuses: [] } }).terms.probe;
    assert.deepEqual(probe('health'), { kind: 'http', port: 80, path: '/health', statuses: [] });
    for (const [path, target] of [
      ['/a b\r\nHost: x', '/a%20b%0D%0AHost:%20x'],
      ['/ü?q=1&r=%20', '/%C3%BC?q=1&r=%20'],
      ['/\ud800', '/%EF%BF%BD'],
    ] as const) {
      const made = probe(path);
      assert.ok(made.kind === 'http');
      assert.equal(made.path, target);
    }
  });

  it('say which one is checked where both are there', () => {
    const { terms, remarks } = planOf({ http: { port: 80, path: '/', statuses: [] } });
    assert.equal(terms.probe.kind, 'http');
    assert.deepEqual(remarks, ['http and command are both there: http is checked, command is not']);
  });

  it('say what cannot be carried out', () => {
    const { command: _, ...neither } = CHECK;
    const http = (port: number): HealthCheck => ({ ...neither, http: { port, path: '/', statuses: [] } });
    const by = (command: Partial<Command>): HealthCheck => ({
      ...CHECK,
      command: { ...COMMAND, ...command },
    });
    const { value: __, ...noValue } = COMMAND;
    const table: readonly (readonly [HealthCheck, string])[] = [
      [neither, 'it has neither http nor command'],
      [http(0), 'http.port is not a port: 0'],
      [http(65_536), 'http.port is not a port: 65536'],
      [{ ...CHECK, command: noValue }, 'command.value is missing (shell is true)'],
      [by({ value: 'a\0b' }), 'command contains a NUL'],
      [by({ shell: false, arguments: ['\0'] }), 'command contains a NUL'],
      [by({ environment: [['A=', '']] }), '"A=" in command.environment cannot be the name of a variable'],
      [by({ environment: [['A', '\0']] }), 'A in command.environment contains a NUL'],
    ];
    for (const [check, why] of table) assert.equal(refusalOf(check), why);
  });
});

describe('what a check means', () => {
  const terms = { graceMs: 10_000, failuresMax: 3 };
  const passed: CheckResult = { kind: 'passed' };
  const failed: CheckResult = { kind: 'failed', why: 'no' };
  const unknown: CheckResult = { kind: 'unknown', why: 'Docker is away' };
  const well: Health = { healthy: true, failures: 0 };
  const sick = (failures: number): Health => ({ healthy: false, failures });

  it('is told with each change, and each failure past the grace period', () => {
    const passes = { health: well, text: 'health check passed', kill: false };
    const fails = (n: number) => ({
      health: sick(n),
      text: `health check failed ${n} of 3 times: no`,
      kill: n >= 3,
    });
    const table: readonly (readonly [Health | undefined, CheckResult, number, ReturnType<typeof judge>])[] = [
      [undefined, passed, 0, passes],
      [undefined, passed, 20_000, passes],
      [well, passed, 20_000, undefined],
      [sick(2), passed, 20_000, passes],
      [undefined, failed, 0, undefined],
      [undefined, failed, 10_000, undefined],
      [well, failed, 9_999, undefined],
      [undefined, failed, 10_001, fails(1)],
      [well, failed, 10_001, fails(1)],
      [sick(1), failed, 10_001, fails(2)],
      [sick(2), failed, 10_001, fails(3)],
      // Noted by a supervisor that died before it could do anything about it.
      [sick(3), failed, 10_001, fails(4)],
      [undefined, unknown, 20_000, undefined],
      [sick(2), unknown, 20_000, undefined],
    ];
    for (const [before, result, sinceStartMs, verdict] of table)
      assert.deepEqual(judge(terms, before, result, sinceStartMs), verdict, JSON.stringify([before, result]));
  });

  it('is a failure from the first moment on where there is no grace period', () => {
    assert.equal(judge({ ...terms, graceMs: 0 }, undefined, failed, 0)?.health.failures, 1);
  });

  it('kills after so many failures in a row, no sooner, no later, whatever came before', () => {
    const results = fc.array(fc.constantFrom(passed, failed, unknown), { maxLength: 60 });
    fc.assert(
      fc.property(results, fc.integer({ min: 1, max: 5 }), fc.nat(20), (all, failuresMax, graceChecks) => {
        let health: Health | undefined;
        let inARow = 0;
        let told: boolean | undefined;
        for (const [i, result] of all.entries()) {
          const counts = i > graceChecks;
          if (result.kind === 'failed' && counts) inARow += 1;
          if (result.kind === 'passed') inARow = 0;
          const isNews = result.kind === 'failed' ? counts : result.kind === 'passed' && told !== true;
          const verdict = judge({ graceMs: graceChecks + 1, failuresMax }, health, result, i + 1);
          assert.equal(verdict !== undefined, isNews);
          if (verdict === undefined) continue;
          ({ health } = verdict);
          told = health.healthy;
          assert.deepEqual(health, { healthy: result.kind === 'passed', failures: inARow });
          assert.equal(verdict.kill, inARow >= failuresMax);
          if (verdict.kill) return;
        }
      }),
    );
  });
});

describe('when the first check is due', () => {
  const terms = { delayMs: 15_000, intervalMs: 10_000 };
  it('is the delay after the start, or at once where that is over', () => {
    assert.deepEqual(
      [0, 5_000, 15_000, 15_001].map((since) => firstPauseMs(terms, since, false)),
      [15_000, 10_000, 0, 0],
    );
  });

  it('is when it would have been without a crash of ours', () => {
    assert.deepEqual(
      [0, 15_000, 15_001, 24_000, 36_000].map((since) => firstPauseMs(terms, since, true)),
      [15_000, 0, 9_999, 1_000, 9_000],
    );
  });
});

describe('a status', () => {
  it('is fine if it is listed, or from 200 to 399 where none is', () => {
    const fine = (statuses: readonly number[]) =>
      [199, 200, 302, 399, 400, 404].filter((one) => isFine(statuses, one));
    assert.deepEqual([fine([]), fine([404])], [[200, 302, 399], [404]]);
  });
});

describe('foreign words', () => {
  it('are cut where a status update would become long, and between characters', () => {
    assert.equal(boundedWords('short'), 'short');
    assert.equal(boundedWords('x'.repeat(200)), 'x'.repeat(200));
    assert.equal(boundedWords('x'.repeat(201)), `${'x'.repeat(200)}…`);
    for (const words of ['𝄞'.repeat(5_000), `x${'𝄞'.repeat(5_000)}`]) {
      const cut = boundedWords(words);
      assert.equal([...cut].length, 201);
      assert.ok(cut.isWellFormed());
    }
  });
});
