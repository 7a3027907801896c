// With whose login an image is pulled: the operator's, or the one that the task brings. A file fetched as a login is waited
// for. What an archive may bring is asked for only when the image cannot be had without: hardly any archive has one.

import type { ImageRef } from '../container/image.ts';
import type { RegistryLogin } from '../container/registry-login.ts';
import { mayPass } from '../docker/faults.ts';
import { Fault, isFault } from '../fault.ts';
import type { TaskLogin } from './task-login.ts';

export interface LoginSource {
  readonly when: 'first' | 'if-refused';
  /** Waits for the task's URIs; rejects as they do. */
  readonly find: (image: ImageRef) => Promise<TaskLogin>;
}

/** `pull` without a login has the operator's. Rejects as `pull` did last, naming a file of the task that is no use. */
export async function pullForTask(
  image: ImageRef,
  pull: (login: RegistryLogin | undefined) => Promise<void>,
  source: LoginSource | undefined,
): Promise<void> {
  const first = source?.when === 'first' ? await source.find(image) : {};
  try {
    await pull(first.login);
  } catch (error) {
    if (!isFault(error)) throw error;
    // A daemon that is away would not have been asked with another login either.
    const own = source?.when === 'if-refused' && !mayPass(error) ? await source.find(image) : first;
    if (own !== first && own.login !== undefined) return await pull(own.login);
    throw own.unusable === undefined
      ? error
      : new Fault(error.kind, `${error.message} (${own.unusable})`, error);
  }
}
