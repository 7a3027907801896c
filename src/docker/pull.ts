// Getting an image that is not there. The docker CLI says with which credentials (it knows config files, helpers and
// stores), the API pulls and tells each byte: the CLI's own output without a terminal is silent while a layer comes,
// so that a large layer could not be told from a registry that hangs. Closing the request ends the daemon's pull.
// Credentials are in the memory of this process and in one request's header, nowhere else.

import { readFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { escapeControl, Fault } from '../fault.ts';
import { cliDialogue, type Dialogue, type DialogueAnswer, type DialogueRequest } from './cli-dialogue.ts';
import { readAnswer } from './client.ts';
import type { Connection } from './connection.ts';
import type { Engine } from './engine.ts';
import { dockerFault } from './faults.ts';
import type { Wanted } from './pull-coordinator.ts';
import { PullProgress } from './pull-progress.ts';

/** A pull that has told nothing new for so long hangs. */
export const PULL_STALL_MS = 120_000;
/** A line of the daemon's progress is a few hundred bytes. */
const LINE_MAX_CHARS = 1024 * 1024;

/** Progress in words for the framework: `Pulling registry:5000/app: 3 of 7 layers, 12.5 of 80.1 MB`. */
export type OnProgress = (words: string) => void;

interface ResolvedPull {
  readonly query: Readonly<Record<string, string>>;
  readonly registryAuth?: string;
}

/**
 * Pulls an image, with the login that comes with it or else the operator's. Faults: `docker` with the daemon's words, also when it went
 * away (isDaemonAway); `config` for an unreadable dockercfg; `timeout` when nothing moves for two minutes; the signal's reason when aborted, the daemon's
 * pull ending with it. Pulling what is there already is quick and does no harm.
 */
export async function pullImage(
  engine: Engine,
  connection: Connection,
  wanted: Wanted,
  onProgress: OnProgress,
  signal: AbortSignal,
  stallMs = PULL_STALL_MS,
): Promise<void> {
  const doing = `pull ${wanted.image}`;
  const stall = new AbortController();
  const either = AbortSignal.any([signal, stall.signal]);
  const resolved = await resolvePull(engine, connection, wanted, signal);
  let timer = setTimeout(() => stall.abort(), stallMs);
  const progress = new PullProgress(wanted.image);
  try {
    const { query, registryAuth } = resolved;
    const response = await engine.client.open('POST', '/images/create', either, {
      query,
      ...(registryAuth === undefined ? {} : { registryAuth }),
    });
    if (response.statusCode !== 200) await readAnswer(response, either);
    for await (const line of lines(response as AsyncIterable<Buffer>)) {
      const news = progress.take(line);
      if (progress.failure !== undefined)
        throw new Fault('docker', `${doing}: ${escapeControl(progress.failure)}`);
      if (!news) continue;
      clearTimeout(timer);
      timer = setTimeout(() => stall.abort(), stallMs);
      onProgress(progress.words());
    }
  } catch (error) {
    signal.throwIfAborted();
    if (stall.signal.aborted) {
      throw new Fault('timeout', `${doing}: no progress for ${stallMs / 1000} s`, error);
    }
    const fault = dockerFault(error, doing);
    // Absent, denied, unknown: whatever status the daemon chose, the image cannot be had.
    throw fault.kind === 'docker' ? fault : new Fault('docker', fault.message, error);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks the CLI what it would send for `docker pull`: the names taken apart, and the registry's credentials. */
async function resolvePull(
  engine: Engine,
  connection: Connection,
  { image, platform, login }: Wanted,
  signal: AbortSignal,
): Promise<ResolvedPull> {
  const versions = await engine.ping(signal);
  const headers = Object.fromEntries(
    Object.entries(versions).filter(([name]) => name === 'api-version' || name === 'ostype'),
  );
  let resolved: ResolvedPull | undefined;
  const answer = async (request: DialogueRequest): Promise<DialogueAnswer | 'enough'> => {
    switch (`${request.method} ${request.path}`) {
      case 'HEAD /_ping':
      case 'GET /_ping':
        return { status: 200, headers };
      case 'GET /info':
        return { status: 200, headers, body: JSON.stringify(await engine.info(signal)) };
      case 'POST /images/create': {
        const auth = request.headers['x-registry-auth'];
        resolved = {
          query: Object.fromEntries(request.query),
          ...(typeof auth === 'string' && auth !== '' ? { registryAuth: auth } : {}),
        };
        return 'enough';
      }
      default:
        return {
          status: 404,
          headers,
          body: JSON.stringify({ message: `${request.path} is not answered here` }),
        };
    }
  };
  const argv = ['pull', ...(platform === undefined ? [] : [`--platform=${platform}`]), image];
  const config: Dialogue['config'] =
    login === undefined
      ? await credentials(connection)
      : // This one login and nothing else: no setting of the operator's, no helper.
        { json: JSON.stringify({ auths: { [login.server]: login.entry } }), home: '/' };
  const end = await cliDialogue({ argv, config, answer }, signal);
  if (resolved !== undefined) return resolved;
  const words = end.heard ? '' : escapeControl(end.words.trim().split('\n').at(-1) ?? '');
  throw new Fault('docker', `pull ${image}: ${words || 'the docker CLI ended without asking for the image'}`);
}

/** Where the CLI finds credentials. Fault `config` if the file that the operator named cannot be used. */
async function credentials(connection: Connection): Promise<Dialogue['config']> {
  const home = userInfo().homedir;
  const file = connection.dockercfg;
  if (file === undefined) return { directory: connection.configDirectory, home };
  let parsed: unknown;
  try {
    parsed = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw new Fault('config', `cannot read the credentials in ${file} (dockercfg in [docker.index])`, error);
  }
  const isCurrent =
    parsed !== null &&
    typeof parsed === 'object' &&
    ['auths', 'credHelpers', 'credsStore'].some((key) => key in (parsed as object));
  // The older form is what stands under `auths` in the newer one.
  return { json: JSON.stringify(isCurrent ? parsed : { auths: parsed }), home };
}

async function* lines(chunks: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of chunks) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = parts.pop() ?? '';
    if (rest.length > LINE_MAX_CHARS)
      throw new Fault('protocol', 'a line of pull progress is longer than 1 MiB');
    yield* parts;
  }
  if (rest !== '') yield rest;
}
