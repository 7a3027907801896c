// The slave's work directory as it is kept and compared: two slaves may share a state root, and neither may see the
// other's containers.

import { realpathSync } from 'node:fs';
import { errnoOf } from '../fault.ts';

/** The directory with its symlinks resolved; as it stands where it cannot be; undefined for none. */
export function realWorkDirectory(path: string | undefined): string | undefined {
  if (path === undefined || path === '') return undefined;
  try {
    return realpathSync(path);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return path;
  }
}
