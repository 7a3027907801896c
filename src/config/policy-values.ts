// The lists of [policy]: from the text of a value to what the policy is judged by, and what a set of rules leaves open.
// Pure. A list that cannot be read as it was meant is an error and never a rule less.

import { isImagePattern } from '../container/policy-images.ts';
import { optionName } from '../container/policy-options.ts';
import type { Policy } from './schema.ts';
import { type Note, readRoot, readWords, wrong } from './values.ts';

const ALLOWS_ALL = 'has no value: everything is allowed; an empty list, [], allows nothing';

/** Capabilities in capitals and without CAP_. */
export function readCapabilities(text: string, note: Note): readonly string[] | undefined {
  return readList(text, note, (word) => {
    const name = word.toUpperCase().replace(/^CAP_/, '');
    return /^[A-Z][A-Z_]*$/.test(name)
      ? name
      : wrong(word, 'a list of capabilities, like ["NET_ADMIN", "SYS_NICE"]');
  });
}

/** Absolute paths without doubled slashes and one at the end, and `driver:NAME`. */
export function readPrefixes(text: string, note: Note): readonly string[] | undefined {
  return readList(text, note, (word) => {
    if (/^driver:[A-Za-z0-9][A-Za-z0-9_.:/-]*$/.test(word)) return word;
    return readRoot(word) ?? wrong(word, 'a list of paths, like ["/srv/data", "driver:rexray"]');
  });
}

export function readImages(text: string, note: Note): readonly string[] | undefined {
  return readList(text, note, (word) =>
    isImagePattern(word)
      ? word
      : wrong(word, 'a list of registries and images, like ["registry.example.com", "team/*"]'),
  );
}

/** Options by their long names without dashes. */
export function readOptionNames(text: string, note: Note): readonly string[] | undefined {
  return readList(text, note, (word) =>
    /^(?:--?)?[A-Za-z0-9][A-Za-z0-9.-]*$/.test(word)
      ? optionName(word)
      : wrong(word, 'a list of options of docker run by their names, like ["env", "ulimit"]'),
  );
}

function readList(
  text: string,
  note: Note,
  read: (word: string) => string | Error,
): readonly string[] | undefined {
  const words = readWords(text, note);
  if (words === undefined) note(ALLOWS_ALL);
  return words?.map((word) => {
    const value = read(word);
    if (value instanceof Error) throw value;
    return value;
  });
}

/** The rules by which a task is kept from the host, and the options that each is about. */
const WAYS: readonly (readonly [
  key: string,
  isClosed: (policy: Policy) => boolean,
  options: readonly string[],
])[] = [
  [
    'privileged',
    (policy) => !policy.privileged || !policy.devices || hasCapabilities(policy),
    ['privileged'],
  ],
  ['capabilities', hasCapabilities, ['privileged', 'cap-add']],
  ['devices', ({ devices }) => !devices, ['privileged', 'device', 'device-cgroup-rule', 'gpus']],
  ['volumes', ({ volumes }) => volumes !== undefined, ['volume', 'mount', 'volumes-from', 'volume-driver']],
  ['host_pid', ({ hostPid }) => !hostPid, ['pid']],
];

function hasCapabilities({ capabilities }: Policy): boolean {
  return capabilities !== undefined && !capabilities.includes('ALL');
}

/**
 * The keys of [policy] without which tasks can get round the others; empty where none is about what they reach of the
 * host, or they hold together.
 */
export function openKeys(policy: Policy): readonly string[] {
  const { privileged, hostNetwork, hostIpc, hostUts, options } = policy;
  const isMeant =
    WAYS.some(([key, isClosed]) => key !== 'privileged' && isClosed(policy)) ||
    [privileged, hostNetwork, hostIpc, hostUts].includes(false);
  if (!isMeant) return [];
  return WAYS.filter(([, isClosed, names]) => {
    const canBeAsked = options === undefined || names.some((name) => options.includes(name));
    return canBeAsked && !isClosed(policy);
  }).map(([key]) => key);
}
