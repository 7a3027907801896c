// Shows a person what has been added to a file.

import { once } from 'node:events';
import type { FollowedFile } from '../host/followed-file.ts';

/** All that is there now. A reader who is slower than the writer is waited for, and fills no memory. Fault `host`. */
export async function copyOn(file: FollowedFile, to: NodeJS.WritableStream): Promise<void> {
  for (let bytes = file.read(); bytes !== undefined; bytes = file.read())
    if (!to.write(Buffer.from(bytes))) await once(to, 'drain');
}
