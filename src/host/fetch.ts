// One file from where a URI says into a directory, by the program that knows how: curl, aws, hadoop or cp. Each gets the
// variables it needs and no others; a URL with credentials stands in curl's standard input, not in an argv.
// A transfer that moves nothing for a minute is given up; one that failed for a reason that may pass is tried again.

import { lstatSync, readdirSync } from 'node:fs';
import { errnoOf, Fault } from '../fault.ts';
import { type ChildEnd, endInWords, lastLine, runChild, type WriteBound } from './child.ts';
import type { Owner } from './owner.ts';
import { rest } from './pauses.ts';
import { CHILD_ENVIRONMENT, findProgram } from './programs.ts';

/** A transfer whose file has not grown for so long hangs. */
export const FETCH_STALL_MS = 60_000;
/** Between the three tries that a transfer has. */
const PAUSES_MS = [1_000, 3_000] as const;
/** `test -f` looks at one file; on a file server that is away it waits. */
const TEST_MS = 60_000;

const PROXIES = /^(?:https?|ftp|all|no)_proxy$/i;

/** curl(1), EXIT CODES: names not resolved, connections refused, broken or cut short, TLS that did not come about. */
const CURL_MAY_PASS: readonly number[] = [5, 6, 7, 16, 18, 28, 35, 52, 55, 56, 92, 95];
const CURL_HTTP_ERROR = 22;
/** More bytes announced than `--max-filesize` allows. */
const CURL_TOO_LARGE = 63;
const HTTP_MAY_PASS: readonly string[] = ['408', '425', '429', '500', '502', '503', '504'];

/** Where a file is had from, and the program that knows how. */
export type Source =
  | { readonly by: 'curl'; readonly url: string }
  | { readonly by: 'aws'; readonly url: string }
  | { readonly by: 'hadoop'; readonly url: string }
  | { readonly by: 'copy'; readonly path: string };

export interface Wanted {
  readonly source: Source;
  /** The URI as messages name it. */
  readonly shown: string;
}

export interface FetchParts {
  /** Where the programs work; the file to make is named relative to it. */
  readonly cwd: string;
  readonly owner: Owner;
  readonly slaveEnvironment: Readonly<Record<string, string>>;
  /** See ChildOptions. */
  readonly noteIn: string;
  readonly signal: AbortSignal;
  readonly stallMs?: number;
  /** How large the file may become; absent: as large as it is. */
  readonly bound?: WriteBound;
}

export interface Transfer {
  readonly argv: readonly string[];
  readonly input?: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly as: keyof Owner;
}

/**
 * Makes `file`, whose directory (`directory`, relative to the working directory) is there and has nothing else in it.
 * Faults name the URI: `host` with the program's own words, `timeout` when nothing moved, `refused` when it is larger than
 * the bound; the signal's reason when aborted. What a failed try left is overwritten by the next.
 */
export async function fetchFile(
  { source, shown }: Wanted,
  directory: string,
  file: string,
  parts: FetchParts,
): Promise<void> {
  const { signal } = parts;
  if (source.by === 'copy') await refuseUnlessRegular(source.path, shown, parts);
  const { bound } = parts;
  const transfer = transferOf(source, `./${directory}/${file}`, parts.slaveEnvironment, bound?.fileBytes);
  const inFull = `${parts.cwd}/${directory}`;
  for (let n = 0; ; n++) {
    const end = await run(transfer, inFull, parts);
    if (bound !== undefined && isTooLarge(source, end, bytesIn(inFull), bound))
      throw new Fault('refused', `uri ${shown}: ${bound.words}`);
    if (end.how === 'ended' && end.code === 0) return;
    if (end.how === 'stalled') {
      throw new Fault(
        'timeout',
        `uri ${shown}: no progress for ${(parts.stallMs ?? FETCH_STALL_MS) / 1000} s`,
      );
    }
    const pauseMs = mayPass(source, end) ? PAUSES_MS[n] : undefined;
    if (pauseMs === undefined) throw new Fault('host', `uri ${shown}: ${wordsOf(transfer, end)}`);
    await rest(pauseMs, signal);
  }
}

/** How a source is fetched into `file`. Throws Fault `host` that names a program that is missing. */
export function transferOf(
  source: Source,
  file: string,
  slaveEnvironment: Readonly<Record<string, string>>,
  maxBytes?: number,
): Transfer {
  const only = (wanted: (name: string) => boolean): Readonly<Record<string, string>> => ({
    ...CHILD_ENVIRONMENT,
    ...Object.fromEntries(Object.entries(slaveEnvironment).filter(([name]) => wanted(name))),
  });
  switch (source.by) {
    case 'copy':
      return {
        argv: [findProgram('cp'), '--', source.path, file],
        environment: CHILD_ENVIRONMENT,
        as: 'plain',
      };
    case 'curl':
      return {
        // Without its settings file, its reading of [] and {}, and redirects to other kinds of sources.
        argv: [
          ...[findProgram('curl'), '-q', '--config', '-', '--globoff', '--fail', '--silent', '--show-error'],
          ...['--location', '--proto', '=http,https,ftp,ftps', '--proto-redir', '=http,https,ftp,ftps'],
          // Each piece into the file as it comes: the file's size tells whether something moves.
          ...['--no-buffer', '--write-out', '%{http_code}', '--output', file],
          // Where the server says before how large it is.
          ...(maxBytes === undefined ? [] : ['--max-filesize', String(maxBytes)]),
        ],
        input: `url = "${source.url.replace(/[\\"]/g, '\\$&')}"\n`,
        environment: withHttpProxy(only((name) => PROXIES.test(name))),
        as: 'confined',
      };
    case 'aws':
      return {
        argv: [findProgram('aws'), 's3', 'cp', '--only-show-errors', source.url, file],
        environment: only((name) => PROXIES.test(name) || name.startsWith('AWS_')),
        as: 'confined',
      };
    case 'hadoop': {
      const home = slaveEnvironment.HADOOP_HOME;
      return {
        argv: [
          home === undefined ? findProgram('hadoop') : `${home}/bin/hadoop`,
          ...['fs', '-copyToLocal', source.url, file],
        ],
        environment: only(
          (name) => name === 'HADOOP_HOME' || name === 'JAVA_HOME' || name.startsWith('AWS_'),
        ),
        as: 'confined',
      };
    }
  }
}

/** curl alone reads HTTP_PROXY in small letters only, since in a CGI program a request's header would set the other. */
function withHttpProxy(environment: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const { HTTP_PROXY } = environment;
  return HTTP_PROXY === undefined ? environment : { http_proxy: HTTP_PROXY, ...environment };
}

async function run(transfer: Transfer, directory: string, parts: FetchParts): Promise<ChildEnd> {
  return await runChild(transfer.argv, {
    cwd: parts.cwd,
    env: transfer.environment,
    as: parts.owner[transfer.as],
    ...(transfer.input === undefined ? {} : { input: transfer.input }),
    noteIn: parts.noteIn,
    signal: parts.signal,
    stall: { ms: parts.stallMs ?? FETCH_STALL_MS, bytes: () => bytesIn(directory) },
    ...(parts.bound === undefined ? {} : { most: { bound: parts.bound, bytes: () => bytesIn(directory) } }),
  });
}

/** A device or a FIFO would be read for ever. As the owner, who learns nothing that he could not find out himself. */
async function refuseUnlessRegular(path: string, shown: string, parts: FetchParts): Promise<void> {
  const end = await runChild([findProgram('test'), '-f', path], {
    cwd: '/',
    env: CHILD_ENVIRONMENT,
    as: parts.owner.plain,
    noteIn: parts.noteIn,
    signal: parts.signal,
    boundMs: TEST_MS,
  });
  if (end.how !== 'ended') throw new Fault('timeout', `uri ${shown}: no answer for ${TEST_MS / 1000} s`);
  if (end.code !== 0) throw new Fault('host', `uri ${shown}: there is no regular file at ${path}`);
}

/** One that the kernel kept from growing has reached its bound, whatever its program made of that. */
function isTooLarge(source: Source, end: ChildEnd, bytes: number, bound: WriteBound): boolean {
  if (bound.isOver(bytes) || end.how === 'over') return true;
  if (end.how !== 'ended' || end.code === 0) return false;
  return bytes >= bound.fileBytes || (source.by === 'curl' && end.code === CURL_TOO_LARGE);
}

function mayPass(source: Source, end: ChildEnd): boolean {
  if (source.by !== 'curl') return false;
  if (end.code === CURL_HTTP_ERROR) return HTTP_MAY_PASS.includes(end.stdout.trim());
  return end.code !== null && CURL_MAY_PASS.includes(end.code);
}

function wordsOf({ argv }: Transfer, end: ChildEnd): string {
  const program = (argv[0] ?? '').replace(/^.*\//, '');
  const words = lastLine(end.stderr)?.replace(/^(?:curl: \(\d+\)|cp:|setpriv:) /, '');
  return words ?? `${program} ${endInWords(end)}`;
}

/** Together: programs write under a name of their own first. */
function bytesIn(directory: string): number {
  try {
    return readdirSync(directory).reduce((sum, name) => sum + lstatSync(`${directory}/${name}`).size, 0);
  } catch (error) {
    // Renamed or removed between the two calls.
    if (errnoOf(error) === undefined) throw error;
    return 0;
  }
}
