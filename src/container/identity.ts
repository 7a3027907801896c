// The two things here that are called "container id", as types that cannot be mixed up, and the checks that make them.

declare const brand: unique symbol;

/** The id that the slave gave the container (a UUID in practice): the name of its state directory. */
export type MesosContainerId = string & { readonly [brand]: 'MesosContainerId' };

/** The 64 hex digits by which Docker knows the container. */
export type DockerId = string & { readonly [brand]: 'DockerId' };

const MESOS_CONTAINER_ID = /^[A-Za-z0-9._:-]{1,255}$/;
const DOCKER_ID = /^[0-9a-f]{64}$/;

/** An id from the wire is a name and never a path: undefined for anything that could be one. */
export function mesosContainerId(text: string): MesosContainerId | undefined {
  if (!MESOS_CONTAINER_ID.test(text) || text === '.' || text === '..') return undefined;
  return text as MesosContainerId;
}

/** undefined unless it is a full Docker id. */
export function dockerId(text: string): DockerId | undefined {
  return DOCKER_ID.test(text) ? (text as DockerId) : undefined;
}

/**
 * The name under which the container is created: derived from the Mesos id alone, so that a supervisor that
 * comes back after a crash finds what it may already have created. Docker allows [a-zA-Z0-9_.-] after the first
 * character; `:` of a Mesos id becomes `_3a`, and `_` itself `_5f`, so that two ids never share a name.
 */
export function containerName(id: MesosContainerId): string {
  return `deimos-${id.replace(/[_:]/g, (c) => (c === ':' ? '_3a' : '_5f'))}`;
}
