// `deimos supervise`: the process of supervisor/supervise.ts, with its logs and its signals. Started by the other commands,
// or as a service.

import { oneLine } from '../fault.ts';
import type { LogLevel } from '../host/log.ts';
import { combined, fileLog, syslogStream } from '../host/log-sinks.ts';
import { rootPaths } from '../state/layout.ts';
import { noteRoot, prepareRoot } from '../state/root.ts';
import { supervise as run } from '../supervisor/supervise.ts';

export interface SuperviseCommand {
  readonly root: string;
  readonly stay: boolean;
  /** undefined: syslog from INFO on. */
  readonly syslog: LogLevel | undefined;
  /** Our own, to see that it was replaced. */
  readonly executable: string;
  readonly version: string;
}

/** Exit status 0 when there is nothing left to do, when another supervisor lives or is to take over, or after SIGTERM. */
export async function supervise(command: SuperviseCommand): Promise<number> {
  const { root, stay, syslog, executable, version } = command;
  process.chdir('/');
  process.umask(0o022);
  const real = prepareRoot(root);
  // One that was started on demand looks after a root that a launch has noted.
  if (stay) noteRoot(real);
  const log = combined(fileLog(rootPaths(real).supervisorLog, 'debug'), syslogStream(syslog ?? 'info'));
  const ending = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => ending.abort());
  // Crash-only: whatever is unforeseen ends this process, and the next one takes everything up from the disk.
  const crash = (error: unknown): void => {
    log.critical('the supervisor ends by a bug', {
      error: error instanceof Error ? (error.stack ?? '') : oneLine(error),
    });
    void log.close().finally(() => process.kill(process.pid, 'SIGKILL'));
  };
  process.on('uncaughtException', crash);
  process.on('unhandledRejection', crash);
  try {
    await run({ root: real, stay, log, executable, version, signal: ending.signal });
  } finally {
    await log.close();
  }
  return 0;
}
