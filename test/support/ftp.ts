// A real FTP server on loopback, Debian's python3-pyftpdlib, that gives out the files of one directory.

import { readFileSync } from 'node:fs';
import { running, spawnUnderUs, tail } from './dockerd.ts';
import { tempDirectory } from './temp.ts';
import { until } from './until.ts';

export interface Ftp extends AsyncDisposable {
  /** `127.0.0.1:<port>` */
  readonly address: string;
  /** A line for each session, login and file. */
  log(): string;
}

/** Anonymous, or with a login for `user` alone. */
export async function startFtp(directory: string, password?: string): Promise<Ftp> {
  const own = await tempDirectory('ftp-');
  const logFile = own.at('log');
  const login = password === undefined ? [] : ['-u', 'user', '-P', password];
  const argv = [
    '/usr/bin/python3',
    '-m',
    'pyftpdlib',
    '-i',
    '127.0.0.1',
    '-p',
    '0',
    '-d',
    directory,
  ] as const;
  const child = spawnUnderUs([...argv, ...login], 'KILL', logFile);
  const stop = async () => {
    child.kill('SIGKILL');
    await until('the FTP server is gone', () => !running(child));
    await own.remove();
  };
  try {
    const address = await until('the FTP server listens', () => {
      if (!running(child)) throw new Error('it ended; is the package python3-pyftpdlib there?');
      return /starting FTP server on (127\.0\.0\.1:\d+)/.exec(readFileSync(logFile, 'utf8'))?.[1];
    });
    return { address, log: () => readFileSync(logFile, 'utf8'), [Symbol.asyncDispose]: stop };
  } catch (error) {
    const words = tail(logFile, 20);
    await stop();
    throw new Error(`no FTP server: ${words}`, { cause: error });
  }
}
