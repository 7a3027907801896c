// Directories in memory for targets that need files. A target removes its own; what one that was ended has left is removed at the
// end of the run, by the name of the process.

import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';

const PLACE = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
const PREFIX = `deimos-fuzz-${process.pid}-`;

export function scratchDirectory(): string {
  return mkdtempSync(`${PLACE}/${PREFIX}`);
}

/** All that this process has made. */
export function removeScratch(): void {
  for (const name of readdirSync(PLACE))
    if (name.startsWith(PREFIX)) rmSync(`${PLACE}/${name}`, { recursive: true });
}
