// The recorded traffic of real slaves (test/contract/recordings) as values that tests can go through.

import { readFileSync } from 'node:fs';

export interface Call {
  readonly file: string;
  readonly verb: string;
  /** As the slave wrote it: length and payload; empty for verbs that get none. */
  readonly stdin: Buffer;
}

export interface Said {
  readonly file: string;
  readonly url: string;
  /** The name and the message in `url`. */
  readonly name: string;
  readonly message: string;
  readonly httpVersion: string;
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
}

export interface Sent {
  readonly file: string;
  readonly message: string;
  readonly from: string;
  readonly body: Buffer;
}

export const FILES = [
  'command-task',
  'command-task-0.19.1',
  'command-task-0.22.2',
  'executor-task',
  'kill-task',
  'shutdown',
  'slave-restart',
] as const;

const DIRECTORY = new URL('../../contract/recordings/', import.meta.url);

function lines(file: string) {
  const text = readFileSync(new URL(`${file}.jsonl`, DIRECTORY), 'utf8');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

/** What the slave gave to each verb that it called. */
export const CALLS: readonly Call[] = FILES.flatMap((file) =>
  lines(file)
    .filter((line) => line.call !== undefined)
    .map((line) => ({ file, verb: line.call, stdin: Buffer.from(line.stdin, 'hex') })),
);

/** What the slave posted to the executor. */
export const SAID: readonly Said[] = FILES.flatMap((file) =>
  lines(file)
    .filter((line) => line.from === 'slave' && line.url !== undefined)
    .map((line) => {
      const [, name, message] = /^\/([^/]+)\/mesos\.internal\.(\w+)$/.exec(line.url) ?? [];
      if (name === undefined || message === undefined) throw new Error(`unexpected url ${line.url}`);
      const { url, httpVersion, rawHeaders } = line;
      return { file, url, name, message, httpVersion, rawHeaders, body: Buffer.from(line.body, 'hex') };
    }),
);

/** What the executor posted to the slave, and the slave accepted. */
export const SENT: readonly Sent[] = FILES.flatMap((file) =>
  lines(file)
    .filter((line) => line.from === 'executor')
    .map((line) => ({
      file,
      message: line.message,
      from: line.headers['Libprocess-From'],
      body: Buffer.from(line.body, 'hex'),
    })),
);

/** The one value that `found` holds. */
export function only<T>(found: readonly T[]): T {
  const [first, ...rest] = found;
  if (first === undefined || rest.length > 0) throw new Error(`one expected, ${found.length} found`);
  return first;
}
