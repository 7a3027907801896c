// Descriptors that somebody else opened and let leak into us: the slave's sockets and pipes. They must not leak on.

import { closeSync, readdirSync, readFileSync } from 'node:fs';
import { errnoOf } from '../fault.ts';

/**
 * Closes descriptors that leaked into us and would leak on: those above stderr without the close-on-exec flag. (The
 * runtime sets that flag on the low ones at its start, and on all that it opens itself.)
 */
export function closeInherited(): void {
  for (const name of readdirSync('/proc/self/fd')) {
    const fd = Number(name);
    if (fd <= 2) continue;
    try {
      const flags = /^flags:\s*([0-7]+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
      const O_CLOEXEC = 0o2000000;
      if (flags !== undefined && (Number.parseInt(flags, 8) & O_CLOEXEC) === 0) closeSync(fd);
    } catch (error) {
      // The descriptor of the listing itself is gone by now.
      if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'EBADF') throw error;
    }
  }
}
