// The login for an image's registry that a task's own URIs have put where they land: as `.docker/config.json`, or else
// as `.dockercfg`, as the docker CLI looks for them in a home. For the registry that it names it goes before the
// operator's. A file that cannot be used fails no task that can do without: it is named where the pull fails.

import type { ImageRef } from '../container/image.ts';
import { LOGIN_FILES, loginIn, type RegistryLogin } from '../container/registry-login.ts';
import { isFault } from '../fault.ts';
import type { Log } from '../host/log.ts';
import { readOwn } from '../host/sandbox.ts';
import type { RequestRecord } from '../state/records.ts';
import { targetOf, urisOf } from './uris.ts';

/** A login takes some hundred bytes. */
const FILE_MAX_BYTES = 1024 * 1024;

export interface TaskLogin {
  /** Absent: the task has none for this registry. */
  readonly login?: RegistryLogin;
  /** Why its file is not used, in words that name it. */
  readonly unusable?: string;
}

/** How a URI could bring such a file: by its own name, or if none has that in an archive. */
export function bringsLogin(request: RequestRecord): 'by-name' | 'in-archive' | undefined {
  const answer = urisOf(request);
  if (!answer.ok) return undefined;
  if (answer.fetches.some(({ file, unpack }) => unpack === undefined && LOGIN_FILES.includes(file)))
    return 'by-name';
  return answer.fetches.some(({ unpack }) => unpack !== undefined) ? 'in-archive' : undefined;
}

/** To be asked when the URIs are there. Never throws a Fault. */
export async function taskLogin(request: RequestRecord, image: ImageRef, log: Log): Promise<TaskLogin> {
  const { sandbox } = request.task;
  // From the sandbox on: its owner could have put somebody else's directory in the place of the target.
  const way = targetOf(request).slice(sandbox.length).split('/').filter(Boolean);
  for (const file of LOGIN_FILES) {
    const unusable = (why: string): TaskLogin => {
      log.warning("the task's credentials are not used", { file, why });
      return { unusable: `the task's ${file} is not used: ${why}` };
    };
    let text: string | 'absent';
    try {
      text = await readOwn(sandbox, [...way, ...file.split('/')], FILE_MAX_BYTES);
    } catch (error) {
      if (!isFault(error)) throw error;
      return unusable(error.message);
    }
    if (text === 'absent') continue;
    const answer = loginIn(text, image);
    if (!answer.ok) return unusable(answer.why);
    if (answer.login === undefined) return {};
    log.info("the image is pulled with the task's credentials", { file, image });
    return { login: answer.login };
  }
  return {};
}
