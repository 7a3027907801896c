// The bounded end of a supervisor: its successor has the lock when this process is gone, and until then nobody serves.
// A call into a file system that hangs (NFS, FUSE) returns at no signal but SIGKILL, and holds up every other exit, too.

import type { Log } from '../host/log.ts';
import { rest } from '../host/pauses.ts';

/** Less than `recover` waits for the next supervisor: tasks have to be there again when a slave asks for them. */
const LET_GO_BOUND_MS = 1_500;

/**
 * Waits for `work`; past the bound ends this process by SIGKILL. That costs nothing: what is durable is so at any moment.
 * No lock is let go before: it falls when the last call has ended, so that no write of ours comes behind the successor's.
 */
export async function letGoOrDie(work: Promise<void>, log: Log, boundMs = LET_GO_BOUND_MS): Promise<void> {
  const over = new AbortController();
  const late = rest(boundMs, over.signal).then(
    () => {
      log.error(
        'something does not let go, a file system that hangs perhaps: the supervisor kills itself',
        {},
      );
      process.kill(process.pid, 'SIGKILL');
    },
    () => {},
  );
  try {
    await work;
  } finally {
    over.abort();
    await late;
  }
}
