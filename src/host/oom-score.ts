// Out of the first choice of the kernel's when memory is short, where we may say so. For what costs tasks when it dies and is
// small itself; what is started for a task gets the ordinary score back (programs.ts).

import { writeFileSync } from 'node:fs';
import { errnoOf } from '../fault.ts';

const SPARED = '-900';

/** Of this process, whatever it executes, and what it starts. False where we may not. */
export function lowerOomScore(): boolean {
  try {
    writeFileSync('/proc/self/oom_score_adj', SPARED);
    return true;
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
}
