// Users of this host by name, as the host itself knows them (files, LDAP, whatever its name service is made of).

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Fault, oneLine } from '../fault.ts';
import { CHILD_ENVIRONMENT, findProgram } from './programs.ts';

/** Users may be looked up over the network. */
export const USER_LOOKUP_MS = 10_000;

/** `uid:gid` of a user. Fault `refused` if this host has none of that name, `host` if it cannot be asked. */
export async function lookUpUser(name: string, signal: AbortSignal): Promise<string> {
  const run = promisify(execFile);
  try {
    const { stdout } = await run(findProgram('getent'), ['passwd', '--', name], {
      cwd: '/',
      env: CHILD_ENVIRONMENT,
      timeout: USER_LOOKUP_MS,
      killSignal: 'SIGKILL',
      signal,
    });
    const [, , uid, gid] = stdout.split('\n')[0]?.split(':') ?? [];
    if (uid !== undefined && gid !== undefined && /^\d+$/.test(uid) && /^\d+$/.test(gid))
      return `${uid}:${gid}`;
  } catch (error) {
    signal.throwIfAborted();
    // getent's own "not found".
    const status = error instanceof Error && 'code' in error ? error.code : undefined;
    if (status !== 2)
      throw new Fault('host', `the user ${name} cannot be looked up: ${oneLine(error)}`, error);
  }
  throw new Fault('refused', `this host has no user ${name}`);
}
