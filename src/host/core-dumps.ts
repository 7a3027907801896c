// Nothing of what we know in a core dump. The environments of tasks and logins of registries are in our memory; a core lies
// where the process was, which may be a sandbox, or is piped to a program of the host's whatever the limit is.

import { writeFileSync } from 'node:fs';
import { errnoOf } from '../fault.ts';

/** See core(5): no kind of mapping. */
const NOTHING = '0';

/** For this process, whatever it executes, and what it starts. Takes 20 µs. False where the kernel has no such file. */
export function keepOutOfCoreDumps(): boolean {
  try {
    writeFileSync('/proc/self/coredump_filter', NOTHING);
    return true;
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
}
