// A task's options, words of `docker run`'s own language, into the create request that Docker's own client would send.
// The CLI runs as a user that nobody else is, against a socket of ours, without the task's environment or the values of
// variables in the options, and never reaches dockerd. What it asked for is returned; nothing is created here.

import { randomInt, randomUUID } from 'node:crypto';
import type { CreateBody, CreateRequest, Json } from '../container/create-request.ts';
import type { ImageRef } from '../container/image.ts';
import { escapeControl, Fault } from '../fault.ts';
import { cliDialogue, type DialogueAnswer, type DialogueRequest } from './cli-dialogue.ts';
import { type HiddenValues, hideValues, shownOptions } from './variable-values.ts';

/** What the daemon says of itself, for the CLI to adapt to. */
export interface DaemonFacts {
  ping(signal: AbortSignal): Promise<Readonly<Record<string, string>>>;
  version(signal: AbortSignal): Promise<Readonly<Record<string, unknown>>>;
  info(signal: AbortSignal): Promise<Readonly<Record<string, unknown>>>;
}

export interface Translation {
  readonly request: CreateRequest;
  /** `--pull`: before each run, only if the image is absent (the default), never. */
  readonly pull: 'always' | 'missing' | 'never';
}

/** Ids that no package, no range for containers and no directory service hands out. */
const FREE_UIDS = { from: 2_000_000_000, to: 2_100_000_000 } as const;
/** The daemon's headers that say which API it speaks. */
const VERSION_HEADERS = [
  'api-version',
  'builder-version',
  'docker-experimental',
  'ostype',
  'server',
  'swarm',
];
/** Begins the name of a label between the task's words and the operator's. */
const SEAM = 'deimos.seam.';
/** Where the CLI complains of it; perhaps only of its beginning. */
const SEAM_IN_WORDS = /(?:--label=)?deimos\.seam\.[0-9a-f-]*=?/g;
/** Options whose value is a file of the host that the CLI itself reads. */
const FILE_OPTIONS = ['--env-file', '--label-file'];

/**
 * Faults: `refused` with the CLI's own words for options that it does not accept, and for words that are no options,
 * relative paths and --cidfile; `timeout`, `host`, `docker` where the CLI or the daemon cannot be asked.
 * About 40 ms. Safe to call twice and side by side. `program` is the CLI's path if not the one in the fixed PATH. `appended`
 * of the words, the last ones, are the operator's: an option before them that would take the first for its value is refused.
 */
export async function translateOptions(
  options: readonly string[],
  image: ImageRef,
  daemon: DaemonFacts,
  signal: AbortSignal,
  program?: string,
  appended = 0,
): Promise<Translation> {
  refuseFileOptions(options);
  // Attached, the CLI refuses other things (a tty without a terminal) than detached (-a): one of both must do.
  const hidden = hideValues(options);
  const own = options.length - appended;
  const seam = appended === 0 ? undefined : `${SEAM}${randomUUID()}`;
  const words = [
    ...hidden.words.slice(0, own),
    ...(seam === undefined ? [] : [`--label=${seam}=`]),
    ...hidden.words.slice(own),
  ];
  const listen = (first: readonly string[]): Promise<Heard> =>
    listenTo([...first, ...words, image], hidden, daemon, signal, program);
  const detached = await listen(['run', '--detach']);
  const heard = detached.ok ? detached : await listen(['run']);
  if (!heard.ok) {
    const complaint = heard.words.replace(SEAM_IN_WORDS, '…');
    throw new Fault('refused', `docker run ${shownOptions(options)}: ${complaint}`);
  }
  const { body } = heard.translation.request;
  refuseStrayWords(body, image, options);
  refuseRelativePaths(body, options);
  return seam === undefined ? heard.translation : withoutSeam(heard.translation, seam, options.slice(0, own));
}

/** A label that only stands where the words before it were complete is there, and is taken out. */
function withoutSeam(translation: Translation, seam: string, own: readonly string[]): Translation {
  const { request } = translation;
  const { [seam]: found, ...Labels } = request.body.Labels ?? {};
  if (found === undefined) {
    const last = shownOptions(own.slice(-1));
    throw new Fault('refused', `docker run ${shownOptions(own)}: ${last}, the last word, lacks its value`);
  }
  return { ...translation, request: { ...request, body: { ...request.body, Labels } } };
}

type Heard =
  | { readonly ok: true; readonly translation: Translation }
  | { readonly ok: false; readonly words: string };

/** Plays the daemon until the CLI has asked for its container. */
async function listenTo(
  argv: readonly string[],
  hidden: HiddenValues,
  daemon: DaemonFacts,
  signal: AbortSignal,
  program: string | undefined,
): Promise<Heard> {
  const versions = await daemon.ping(signal);
  const headers = Object.fromEntries(
    Object.entries(versions).filter(([name]) => VERSION_HEADERS.includes(name)),
  );
  let pulled = false;
  let first: CreateRequest | undefined;
  let translation: Translation | undefined;

  const answer = async (request: DialogueRequest): Promise<DialogueAnswer | 'enough'> => {
    switch (`${request.method} ${request.path}`) {
      case 'HEAD /_ping':
        return { status: 200, headers };
      case 'GET /_ping':
        return { status: 200, headers, body: 'OK' };
      case 'GET /version':
        return { status: 200, headers, body: JSON.stringify(await daemon.version(signal)) };
      case 'GET /info':
        return { status: 200, headers, body: JSON.stringify(await daemon.info(signal)) };
      case 'POST /images/create':
        pulled = true;
        return { status: 200, headers };
      case 'POST /containers/create': {
        const wanted = createRequest(request, hidden);
        if (first !== undefined || pulled) {
          translation = { request: wanted, pull: first === undefined ? 'always' : 'missing' };
          return 'enough';
        }
        first = wanted;
        // Whether the CLI now pulls is what `--pull` says.
        return {
          status: 404,
          headers,
          body: JSON.stringify({ message: `No such image: ${wanted.body.Image}` }),
        };
      }
      default:
        return {
          status: 404,
          headers,
          body: JSON.stringify({ message: `${request.path} is not answered here` }),
        };
    }
  };
  const uid = randomInt(FREE_UIDS.from, FREE_UIDS.to);
  const end = await cliDialogue(
    { argv, config: 'none', uid, answer, ...(program === undefined ? {} : { program }) },
    signal,
  );
  if (translation !== undefined) return { ok: true, translation };
  // A CLI that may not pull gives up after our 404; what it wanted is known by then.
  if (!end.heard && first !== undefined) return { ok: true, translation: { request: first, pull: 'never' } };
  return { ok: false, words: end.heard ? '' : complaint(hidden.mask(end.words)) };
}

function createRequest(request: DialogueRequest, hidden: HiddenValues): CreateRequest {
  let body: unknown;
  try {
    body = JSON.parse(hidden.reveal(request.body));
  } catch (error) {
    throw new Fault('protocol', 'the docker CLI sent a create request that is not JSON', error);
  }
  if (body === null || typeof body !== 'object' || !('Image' in body) || typeof body.Image !== 'string') {
    throw new Fault('protocol', 'the docker CLI sent a create request without an image');
  }
  const name = request.query.get('name');
  const platform = request.query.get('platform');
  return {
    query: {
      ...(name ? { name: hidden.mask(name) } : {}),
      ...(platform ? { platform: hidden.mask(platform) } : {}),
    },
    // JSON of Docker's own client, in the shape that Docker documents for this request.
    body: body as { readonly [key: string]: Json } as CreateBody,
  };
}

/** The CLI's words without its hints at help texts, on one line. */
function complaint(words: string): string {
  const lines = words
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !/^(Usage:|See 'docker |Run 'docker )/.test(line))
    .map((line) => escapeControl(line.replace(/^docker: /, '')));
  const last = lines.join(' ').replace(/\.$/, '');
  return last || 'the docker CLI ended without asking for a container';
}

function refuseFileOptions(options: readonly string[]): void {
  options.forEach((word, i) => {
    const [name = '', inline] = word.split(/=(.*)/s);
    const value = inline ?? options[i + 1] ?? '';
    if (name === '--cidfile') throw new Fault('refused', 'docker run --cidfile: Deimos keeps the id itself');
    if (FILE_OPTIONS.includes(name) && !value.startsWith('/')) {
      throw new Fault('refused', `docker run ${name} ${escapeControl(value)}: the path is not absolute`);
    }
    const profile = name === '--security-opt' ? /^seccomp[=:](.*)$/s.exec(value)?.[1] : undefined;
    if (profile !== undefined && !profile.startsWith('/') && !['unconfined', 'builtin'].includes(profile)) {
      throw new Fault(
        'refused',
        `docker run --security-opt ${escapeControl(value)}: the path is not absolute`,
      );
    }
  });
}

/** A word that is neither option nor value is an image or a command for the CLI. */
function refuseStrayWords(body: CreateBody, image: ImageRef, options: readonly string[]): void {
  const stray = body.Image === image ? body.Cmd?.[0] : body.Image;
  if (stray === undefined) return;
  const word = shownOptions([stray]);
  throw new Fault(
    'refused',
    `docker run ${shownOptions(options)}: '${word}' is neither an option nor the value of one`,
  );
}

/**
 * The CLI makes a path that begins with a dot absolute, from a directory that means nothing to a task. What it did to
 * the words shows in the result, however they were spelled: each host path must stand in the options as it is.
 */
function refuseRelativePaths(body: CreateBody, options: readonly string[]): void {
  const binds = (body.HostConfig?.Binds ?? []).map((bind) => bind.split(':')[0] ?? '');
  const mounts = (body.HostConfig?.Mounts ?? [])
    .filter((mount) => mount.Type === 'bind')
    .map((mount) => mount.Source ?? '');
  for (const path of [...binds, ...mounts]) {
    const isPath = path.startsWith('/') || path.startsWith('.') || mounts.includes(path);
    const asWritten = options.some((word) => occursUndotted(word, path));
    if (!isPath || (path.startsWith('/') && asWritten)) continue;
    throw new Fault(
      'refused',
      `docker run ${shownOptions(options)}: a host path (${escapeControl(path)}) is not absolute`,
    );
  }
}

/** Whether `path` stands in `word` other than as the end of a path that begins with a dot; --mount doubles quotes (CSV). */
function occursUndotted(word: string, path: string): boolean {
  return [path, path.replaceAll('"', '""')].some((written) => {
    for (let at = word.indexOf(written); at >= 0; at = word.indexOf(written, at + 1)) {
      if (word[at - 1] !== '.') return true;
    }
    return false;
  });
}
