// The memory of a supervisor that has nothing to do, beside an idle runtime.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { rootPaths } from '../../src/state/layout.ts';
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
  // Of their own: what other processes run of them they share, and how the kernel keeps a file depends on how it was written.
  const [executable, runtime] = [host.directory.at('deimos'), host.directory.at('runtime')];
  await copyFile(host.binary, executable);
  await copyFile(RUNTIME, runtime);
  const words = ['supervise', '--root', host.root, '--stay'];
  const supervising = spawn(executable, words, { stdio: 'ignore', env: SUPERVISOR_ENVIRONMENT });
  const idle = spawn(runtime, ['--eval', 'setInterval(() => {}, 2 ** 30)'], { stdio: 'ignore' });
  try {
    await until('a supervisor', () => existsSync(rootPaths(host.root).socket));
    await pause(SETTLE_MS);
    const own = pssOf(supervising.pid ?? 0) / MB;
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
