// Makes a task ready to be created: its plan and image, and its URIs, side by side, but that a pull waits for the URIs if
// one of them is a login (task-pull.ts); then what the plan presumes in the sandbox. Can be called off at any time, and done again.

import type { CreateRequest } from '../container/create-request.ts';
import { makeMissing, makeWorkDirectory } from '../host/sandbox.ts';
import { type Preparation, type PreparationOptions, prepare } from './preparation.ts';
import { bringsLogin, taskLogin } from './task-login.ts';
import { fetchUris } from './uris.ts';

/** `noteIn`: where children are noted, for the next supervisor to end them. Faults as `prepare` and `fetchUris`. */
export async function makeReady(
  parts: Preparation & { readonly noteIn: string },
  options: PreparationOptions,
): Promise<CreateRequest> {
  makeWorkDirectory(parts.request.task.sandbox);
  const request = await sideBySide(parts, options);
  makeMountSources(parts.request.task.sandbox, request);
  return request;
}

/** The first that fails calls the other off and says why. */
async function sideBySide(
  parts: Preparation & { readonly noteIn: string },
  { signal, onProgress, awayBoundMs }: PreparationOptions,
): Promise<CreateRequest> {
  const failure = new AbortController();
  const either = AbortSignal.any([signal, failure.signal]);
  const words = { image: '', uris: '' };
  const told = (what: keyof typeof words, text: string): void => {
    words[what] = text;
    const both = [words.image, words.uris].filter((one) => one !== '');
    if (both.length > 0) onProgress(both.join('; '));
  };
  const guarded = async <T>(what: keyof typeof words, work: Promise<T>): Promise<T> => {
    try {
      const result = await work;
      // What is there is no longer news; a change of words alone is not worth an update.
      words[what] = '';
      return result;
    } catch (error) {
      failure.abort(error);
      throw error;
    }
  };
  const uris = guarded(
    'uris',
    fetchUris(parts, { signal: either, onProgress: (text) => told('uris', text) }),
  );
  const how = bringsLogin(parts.request);
  const login: PreparationOptions['login'] = {
    when: how === 'by-name' ? 'first' : 'if-refused',
    find: async (name) => {
      // Nothing is pulled meanwhile.
      told('image', '');
      await uris;
      return await taskLogin(parts.request, name, parts.log);
    },
  };
  const image = guarded(
    'image',
    prepare(parts, {
      ...{ signal: either, awayBoundMs, onProgress: (text: string) => told('image', text) },
      ...(how === undefined ? {} : { login }),
    }),
  );
  await Promise.allSettled([image, uris]);
  signal.throwIfAborted();
  failure.signal.throwIfAborted();
  return await image;
}

/**
 * A volume's directory in the sandbox need not be there before. Docker makes the source of a Bind, but not that of a
 * Mount, as which it comes where the sandbox's path has a colon.
 */
function makeMountSources(sandbox: string, request: CreateRequest): void {
  for (const { Type, Source } of request.body.HostConfig?.Mounts ?? []) {
    if (Type === 'bind' && Source !== undefined) makeMissing(sandbox, Source);
  }
}
