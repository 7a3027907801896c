// Runs the docker CLI against a daemon that is us: a throw-away HTTP server on a unix socket that hears what the CLI
// would have asked for. The CLI never reaches dockerd here. Whoever uses this must be able to live with the CLI being
// killed at any moment, and answers every request itself.

import type { ChildProcess } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { Fault } from '../fault.ts';
import { identify } from '../host/processes.ts';
import { CHILD_ENVIRONMENT, findProgram, underSetpriv } from '../host/programs.ts';
import { startProgram } from '../host/start.ts';

/** Starting the CLI takes 40 ms; a credential helper may ask somebody over the network. */
const DIALOGUE_TIMEOUT_MS = 20_000;
/** A create request is a few kilobytes; label files and seccomp profiles make it more. */
const REQUEST_MAX_BYTES = 8 * 1024 * 1024;
/** Of what the CLI writes, the first part is kept: its complaint stands before its usage text. */
const WORDS_MAX_BYTES = 16 * 1024;
/** Root's own, on every Linux, and passable for the user that the CLI runs as; the directory made in it is not. */
const RUN_DIRECTORY = '/run';
/** And the pid of whom it belongs to. */
const DIRECTORY_PREFIX = 'deimos-cli-';

export interface DialogueRequest {
  readonly method: string;
  /** Without the API version: `/containers/create`. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export interface DialogueAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface Dialogue {
  /** What follows `docker --host …`. */
  readonly argv: readonly string[];
  /**
   * The CLI's settings. `none`: an empty directory, so that no setting of anybody's has a part in it; `json`: a
   * config.json of this text, for the dialogue alone; `directory`: as it lies there (undefined: `.docker` in `home`).
   */
  readonly config:
    | 'none'
    | { readonly json: string; readonly home: string }
    | { readonly directory: string | undefined; readonly home: string };
  /** The CLI's path; undefined: the one in the fixed PATH. */
  readonly program?: string;
  /** Runs as this user and group id, which must be nobody's; undefined: as we are. */
  readonly uid?: number;
  /** `enough` ends the dialogue: the CLI is killed, nothing is answered. */
  answer(request: DialogueRequest): Promise<DialogueAnswer | 'enough'>;
}

/** Heard all we wanted, or the CLI ended by itself first, with these words on stderr. */
export type DialogueEnd = { readonly heard: true } | { readonly heard: false; readonly words: string };

/** Removes the directories, with credentials perhaps, of dialogues whose owner was killed. Repeatable. */
export function removeLeftDialogues(): void {
  for (const name of readdirSync(RUN_DIRECTORY)) {
    const pid = new RegExp(`^${DIRECTORY_PREFIX}(\\d+)-`).exec(name)?.[1];
    if (pid !== undefined && identify(Number(pid)) === undefined)
      rmSync(join(RUN_DIRECTORY, name), { recursive: true, force: true });
  }
}

/** Rejects with Fault `timeout` after 20 s, Fault `host` if the CLI cannot be run, and the signal's reason. */
export async function cliDialogue(dialogue: Dialogue, signal: AbortSignal): Promise<DialogueEnd> {
  signal.throwIfAborted();
  const bound = AbortSignal.timeout(DIALOGUE_TIMEOUT_MS);
  const either = AbortSignal.any([signal, bound]);
  const directory = await mkdtemp(join(RUN_DIRECTORY, `${DIRECTORY_PREFIX}${process.pid}-`));
  const socket = join(directory, 'socket');
  const config = join(directory, 'config');
  const server = createServer({ keepAliveTimeout: 0, requestTimeout: DIALOGUE_TIMEOUT_MS });
  let child: ChildProcess | undefined;
  try {
    await mkdir(config, { mode: 0o700 });
    if (dialogue.config !== 'none' && 'json' in dialogue.config) {
      await writeFile(join(config, 'config.json'), dialogue.config.json, { mode: 0o600 });
    }
    const heard = Promise.withResolvers<DialogueEnd>();
    // Rejected after the end (a server error while closing) it has nobody to tell.
    heard.promise.catch(() => {});
    server.on('request', (request, response) => {
      handle(dialogue, request, response).then(
        (enough) => enough && heard.resolve({ heard: true }),
        (error: unknown) => heard.reject(error),
      );
    });
    await listen(server, socket);
    // The socket before the directory: whoever may pass through the directory may connect.
    for (const path of dialogue.uid === undefined ? [] : [socket, config, directory]) {
      await chown(path, dialogue.uid ?? 0, dialogue.uid ?? 0);
    }
    await chmod(socket, 0o600);
    child = await startCli(dialogue, socket, config);
    return await Promise.race([heard.promise, endOf(child), aborted(either)]);
  } catch (error) {
    signal.throwIfAborted();
    if (bound.aborted) {
      throw new Fault(
        'timeout',
        `the docker CLI did not finish within ${DIALOGUE_TIMEOUT_MS / 1000} s`,
        error,
      );
    }
    throw error;
  } finally {
    killGroup(child);
    server.closeAllConnections();
    server.close();
    await rm(directory, { recursive: true, force: true });
  }
}

async function startCli(dialogue: Dialogue, socket: string, config: string): Promise<ChildProcess> {
  const { uid } = dialogue;
  const identity =
    uid === undefined ? [] : [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--no-new-privs'];
  const environment: Record<string, string> = { ...CHILD_ENVIRONMENT };
  const options: string[] = [];
  const directory =
    dialogue.config !== 'none' && 'directory' in dialogue.config ? dialogue.config.directory : config;
  if (directory !== undefined) options.push('--config', directory);
  // Credential helpers look for their own settings there.
  if (dialogue.config !== 'none') environment.HOME = dialogue.config.home;
  const cli = [
    dialogue.program ?? findProgram('docker'),
    ...options,
    '--host',
    `unix://${socket}`,
    ...dialogue.argv,
  ];
  return await startProgram(
    'the docker CLI',
    underSetpriv([...identity, '--pdeathsig', 'KILL', '--', ...cli]),
    {
      cwd: '/',
      env: environment,
      stdio: ['ignore', 'ignore', 'pipe'],
      // A group of its own, so that credential helpers can be killed with it.
      detached: true,
    },
  );
}

/** True when that was the request that was waited for. */
async function handle(
  dialogue: Dialogue,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<boolean> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > REQUEST_MAX_BYTES)
      throw new Fault('refused', 'the options make a request of more than 8 MiB');
    chunks.push(chunk);
  }
  const url = new URL(request.url ?? '/', 'http://docker');
  const answer = await dialogue.answer({
    method: request.method ?? '',
    path: url.pathname.replace(/^\/v\d+\.\d+(?=\/)/, ''),
    query: url.searchParams,
    headers: request.headers,
    body: Buffer.concat(chunks).toString(),
  });
  if (answer === 'enough') return true;
  response.writeHead(answer.status, { 'Content-Type': 'application/json', ...answer.headers });
  response.end(answer.body ?? '');
  return false;
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => resolve());
  });
}

function endOf(child: ChildProcess): Promise<DialogueEnd> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    child.stderr?.on('data', (chunk: Buffer) => {
      if (bytes < WORDS_MAX_BYTES) chunks.push(chunk);
      bytes += chunk.length;
    });
    child.once('error', reject);
    child.once('close', () =>
      resolve({ heard: false, words: Buffer.concat(chunks).subarray(0, WORDS_MAX_BYTES).toString() }),
    );
  });
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

function killGroup(child: ChildProcess | undefined): void {
  if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // ESRCH: it ended this moment
  }
}
