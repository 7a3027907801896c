// The memory of a supervisor that has nothing to do, beside an idle runtime.

import { spawn } from 'node:child_process';
import { copyFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { SUPERVISOR_ENVIRONMENT } from '../../src/supervisor/starter.ts';
import { killAll } from '../../test/support/proc.ts';
import { pssOf } from '../../test/support/processes.ts';
import { until } from '../../test/support/until.ts';
import { figure } from '../figures.ts';
import { type Findings, type Row, RUNTIME, type Say, stage } from '../stage.ts';

/** Until what a start needed for a moment is given back. */
const SETTLE_MS = 3_000;
const MB = 1024 * 1024;

export async function supervisor(say: Say): Promise<Findings> {
  say('supervisor: alone, nothing running');
  await using host = await stage();
  // Of its own: what other processes run of it they share.
  const runtime = host.directory.at('runtime');
  await copyFile(RUNTIME, runtime);
  const words = ['supervise', '--root', host.root, '--stay'];
  const supervising = spawn(host.binary, words, { stdio: 'ignore', env: SUPERVISOR_ENVIRONMENT });
  const idle = spawn(runtime, ['--eval', 'setInterval(() => {}, 2 ** 30)'], { stdio: 'ignore' });
  try {
    const pid = await until('a supervisor', () => host.supervisor());
    await pause(SETTLE_MS);
    const own = pssOf(pid) / MB;
    const bare = pssOf(idle.pid ?? 0) / MB;
    const row: Row = {
      what: 'supervisor alone, nothing running, PSS',
      against: 'an idle runtime',
      ...{ mark: 1.5, value: own / bare, unit: '×' },
      detail: `${figure(own)} MB beside ${figure(bare)} MB`,
    };
    return { rows: [row] };
  } finally {
    await killAll([idle.pid, supervising.pid].filter((pid) => pid !== undefined));
  }
}
