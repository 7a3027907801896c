// Programs that say something and end at once, for people who wait: bounded, and left behind where not even SIGKILL ends them,
// since a process that the kernel holds must not hold us.

import { execFile } from 'node:child_process';
import { CHILD_ENVIRONMENT } from './programs.ts';

const MAX_OUTPUT_BYTES = 1024 * 1024;

export interface BriefEnd {
  /** null where a signal ended it. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** undefined if it had not ended after `boundMs`. Rejects with the system's error if it cannot be started. */
export function runBriefly(
  [file, ...words]: readonly [string, ...string[]],
  boundMs: number,
  environment: Readonly<Record<string, string | undefined>> = CHILD_ENVIRONMENT,
): Promise<BriefEnd | undefined> {
  return new Promise((resolve, reject) => {
    const options = { env: { ...environment }, encoding: 'utf8', maxBuffer: MAX_OUTPUT_BYTES } as const;
    const child = execFile(file, words, options, (error, stdout, stderr) => {
      clearTimeout(timer);
      if (error !== null && typeof error.code === 'string') reject(error);
      else resolve({ status: child.exitCode, stdout, stderr });
    });
    child.stdin?.end();
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      child.unref();
      resolve(undefined);
    }, boundMs);
  });
}
