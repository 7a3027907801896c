// Which login a file of credentials has for an image's registry. Pure: text in, login out. Of the file nothing counts but
// the logins in it: what else such files can say (helpers and stores that the docker CLI would run, headers, proxies) is
// not even passed on, since the file may be a task's and what reads the outcome is root.

import type { ImageRef } from './image.ts';

/** The entry of one registry, as config.json has it under `auths`, with nothing in it but what is named here. */
export interface RegistryLogin {
  /** The key that the docker CLI looks an image's login up with. */
  readonly server: string;
  readonly entry: {
    /** `user:password` in base64; goes before the two. */
    readonly auth?: string;
    readonly username?: string;
    readonly password?: string;
    readonly identitytoken?: string;
  };
}

export type LoginAnswer =
  /** Without a login: the file says nothing about this registry. */
  { readonly ok: true; readonly login?: RegistryLogin } | { readonly ok: false; readonly why: string };

/** Under which names, seen from a home, the docker CLI looks for such a file: the first that is there, and no other. */
export const LOGIN_FILES: readonly string[] = ['.docker/config.json', '.dockercfg'];

/** The hub's key, for everybody and for ever, and the hosts that it is also named by. */
const HUB_SERVER = 'https://index.docker.io/v1/';
const HUB_HOSTS: readonly string[] = ['docker.io', 'index.docker.io'];

/** `text` is a config.json, or the older `.dockercfg`, whose top level is what stands under `auths` in the newer one. */
export function loginIn(text: string, image: ImageRef): LoginAnswer {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return { ok: false, why: 'it is not JSON' };
  }
  if (!isRecord(parsed)) return { ok: false, why: 'it is not a JSON object' };
  const auths = 'auths' in parsed ? parsed.auths : parsed;
  if (!isRecord(auths)) return { ok: false, why: 'its auths is not a JSON object' };
  const host = registryOf(image);
  const isHub = HUB_HOSTS.includes(host);
  const server = isHub ? HUB_SERVER : host;
  const isMeant = (key: string): boolean =>
    isHub ? HUB_HOSTS.includes(hostOf(key)) : hostOf(key) === host.toLowerCase();
  // A key as the CLI writes it today goes before older spellings of the same host.
  const entry = Object.hasOwn(auths, server) && saysSomething(auths[server]) ? auths[server] : undefined;
  const found =
    entry ?? Object.entries(auths).find(([key, value]) => isMeant(key) && saysSomething(value))?.[1];
  if (found === undefined) return { ok: true };
  const login = entryOf(found);
  return login === undefined
    ? { ok: false, why: `its entry for ${host} has no user and password` }
    : { ok: true, login: { server, entry: login } };
}

/** The registry's host, with its port; the hub's where the name has none. */
function registryOf(image: ImageRef): string {
  const [first = '', ...rest] = image.split('/');
  const isHost =
    rest.length > 0 && (/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase());
  return isHost ? first : 'docker.io';
}

/** Keys are hosts, or addresses of hosts as the CLI of 2014 wrote them. */
function hostOf(key: string): string {
  return key
    .replace(/^https?:\/\//, '')
    .replace(/\/.*$/s, '')
    .toLowerCase();
}

/** `{}` stands where a helper keeps the login: nothing is said. */
function saysSomething(entry: unknown): boolean {
  return isRecord(entry) && ['auth', 'username', 'password', 'identitytoken'].some((key) => key in entry);
}

function entryOf(value: unknown): RegistryLogin['entry'] | undefined {
  if (!isRecord(value)) return undefined;
  const word = (key: string): string | undefined => {
    const text = value[key];
    return typeof text === 'string' && text !== '' ? text : undefined;
  };
  const [auth, username, password, identitytoken] = ['auth', 'username', 'password', 'identitytoken'].map(
    word,
  );
  const token = identitytoken === undefined ? {} : { identitytoken };
  if (auth !== undefined) {
    const decoded = decode(auth);
    return decoded === undefined || !/^[^:]+:/s.test(decoded) ? undefined : { auth: btoa(decoded), ...token };
  }
  if (username !== undefined && password !== undefined) return { username, password, ...token };
  return identitytoken === undefined ? undefined : token;
}

/** Bytes as characters: nothing but the colon is looked for. */
function decode(base64: string): string | undefined {
  try {
    return atob(base64);
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
