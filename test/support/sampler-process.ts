// Reads /proc/*/cmdline and /proc/*/environ over and over and looks for strings. A process of its own: programs that
// live for 40 ms are to be caught, and the test's own event loop must not stand still for it.
// IPC in: the strings, later 'stop'. IPC out: 'ready' after the first look, at the end hits and number of scans.

import { setTimeout as sleep } from 'node:timers/promises';
import { allPids, argvOf, pidNamespaceOf, procFile } from './proc.ts';
import type { SecretHit } from './processes.ts';

/** A breath between two scans: on a small machine the program under test needs the processor, too. */
const PAUSE_MS = 3;

const hits = new Map<string, SecretHit>();
const state = { scans: 0, stopped: false };

function scan(secrets: readonly string[], ours: string | undefined): void {
  for (const pid of allPids()) {
    const texts = { argv: procFile(pid, 'cmdline') ?? '', environ: procFile(pid, 'environ') ?? '' };
    for (const where of ['argv', 'environ'] as const) {
      for (const secret of secrets) {
        if (!texts[where].includes(Buffer.from(secret).toString('latin1'))) continue;
        const key = `${pid} ${where} ${secret}`;
        if (hits.has(key) || pidNamespaceOf(pid) !== ours) continue;
        hits.set(key, { pid, argv: argvOf(pid) ?? [], where, secret });
      }
    }
  }
  state.scans += 1;
}

async function sample(secrets: readonly string[]): Promise<void> {
  const ours = pidNamespaceOf(process.pid);
  scan(secrets, ours);
  process.send?.('ready');
  while (!state.stopped) {
    scan(secrets, ours);
    await sleep(PAUSE_MS);
  }
  process.send?.({ hits: [...hits.values()], scans: state.scans });
}

process.on('message', (message) => {
  if (message === 'stop') state.stopped = true;
  else if (Array.isArray(message)) void sample(message.map(String));
});
