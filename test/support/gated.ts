// A task that goes on when the test says so: it waits for a file in its work directory, which the host sees.

import { mkdirSync, writeFileSync } from 'node:fs';

/** A shell command that waits for `openGate`. */
export const AT_GATE = 'while [ ! -e /tmp/mesos-sandbox/go ]; do sleep 0.1; done';

/** Lets it go on. Repeatable; may come before the task runs. */
export function openGate(task: { readonly sandbox: string }): void {
  mkdirSync(`${task.sandbox}/fs`, { recursive: true });
  writeFileSync(`${task.sandbox}/fs/go`, '');
}
