// Which image a task runs, and whether its name is one: the first place where a foreign word becomes an argument of
// docker. A name that this module lets through fits Docker's reference grammar, so it never begins with a dash.
// Pure. Refusals are return values, worded for the framework's user.

import type { Config } from '../config/schema.ts';
import type { TaskRequest } from './task.ts';

declare const brand: unique symbol;

/** A reference that fits Docker's grammar and has a tag or a digest. */
export type ImageRef = string & { readonly [brand]: 'ImageRef' };

export type ImageAnswer =
  | { readonly ok: true; readonly image: ImageRef }
  | { readonly ok: false; readonly why: string };

/** The fields of /etc/os-release that name a distribution. */
export interface OsRelease {
  readonly id?: string;
  readonly versionId?: string;
  readonly versionCodename?: string;
  readonly prettyName?: string;
}

// The grammar of distribution/reference: [domain/]path[:tag][@digest], the path in lower case.
const DOMAIN = String.raw`(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?`;
const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const REFERENCE = new RegExp(
  `^((?:${DOMAIN}/)?${COMPONENT}(?:/${COMPONENT})*)(?::([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@([A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?$`,
);
/** Docker's own limit for the name without tag and digest. */
const NAME_MAX_CHARS = 255;
/** No reference is longer; what is longer is not even matched. */
const REFERENCE_MAX_CHARS = 1024;

const refused = (why: string): ImageAnswer => ({ ok: false, why });

/** A bare name as Docker writes it. `:latest` is added where there is neither tag nor digest. */
export function parseReference(text: string): ImageAnswer {
  const match = text.length <= REFERENCE_MAX_CHARS ? REFERENCE.exec(text) : null;
  const name = match?.[1];
  if (name === undefined || name.length > NAME_MAX_CHARS) {
    return refused(`image '${shorten(text)}' is not a valid image name`);
  }
  if (/^[0-9a-f]{64}$/.test(name)) {
    return refused(`image '${text}' is an image id: Docker takes no 64 hexadecimal digits for a name`);
  }
  const complete = match?.[2] === undefined && match?.[3] === undefined ? `${text}:latest` : text;
  return { ok: true, image: complete as ImageRef };
}

/** `docker:///name[:tag][@digest]` or `docker://registry:port/name`. */
export function parseImageUrl(url: string): ImageAnswer {
  const match = /^docker:\/\/\/?(.*)$/s.exec(url);
  if (match?.[1] === undefined) return refused(`image '${shorten(url)}' is not a docker:/// URL`);
  return parseReference(match[1]);
}

/**
 * The task's own image (unless it is to be ignored), else the operator's, else the slave's default, else a guess
 * from the host's distribution. `docker:///` without a name is a task that leaves the choice to us.
 */
export function chooseImage(
  task: Pick<TaskRequest, 'kind' | 'container'>,
  config: Pick<Config, 'image' | 'index'>,
  slaveEnvironment: Readonly<Record<string, string>>,
  os: OsRelease | undefined,
): ImageAnswer {
  const own = task.container?.image;
  if (own !== undefined && !config.image.ignore && !/^(docker:\/\/\/?)?$/.test(own)) {
    return task.container?.form === 'new' ? parseReference(own) : parseImageUrl(own);
  }
  const fallback = config.image.default || slaveEnvironment.MESOS_DEFAULT_CONTAINER_IMAGE;
  if (fallback) return fallback.includes('://') ? parseImageUrl(fallback) : parseReference(fallback);
  return guessImage(task.kind, config.index, os);
}

// Distributions whose image on the hub has another name than their ID, or other tags than their VERSION_ID.
// `own` is replaced by the operator's account where one is set.
interface HubImage {
  readonly own?: string;
  readonly name: string;
  readonly tag: string | undefined;
}

function hubImage(os: OsRelease): HubImage | undefined {
  const id = os.id?.toLowerCase();
  const version = os.versionId?.toLowerCase();
  const major = version?.split('.')[0];
  switch (id) {
    case undefined:
      return undefined;
    case 'debian': // testing and unstable have no VERSION_ID, those before bookworm no code name but in words
      return { name: 'debian', tag: version ?? (os.versionCodename?.toLowerCase() || beforeSid(os)) };
    case 'centos': // the hub has no Stream, and nothing behind 8 is anything else
      return { name: 'centos', tag: Number(major) > 8 ? undefined : version };
    case 'rhel': // one repository for each major release
      return major === undefined ? undefined : { own: 'redhat', name: `ubi${major}`, tag: version };
    case 'rocky': // what stands there without an account ends with 9.3
      return { own: 'rockylinux', name: 'rockylinux', tag: version };
    case 'amzn':
      return { name: 'amazonlinux', tag: version };
    case 'opensuse': // of before 2018: Leap 42, and Tumbleweed with a date
      return /^\d{8}$/.test(version ?? '')
        ? { own: 'opensuse', name: 'tumbleweed', tag: 'latest' }
        : { own: 'opensuse', name: 'leap', tag: version };
    case 'opensuse-leap':
      return { own: 'opensuse', name: 'leap', tag: version };
    case 'opensuse-tumbleweed': // rolling: its VERSION_ID is a date that has no tag
      return { own: 'opensuse', name: 'tumbleweed', tag: 'latest' };
    case 'arch':
    case 'archarm':
      return { name: 'archlinux', tag: 'latest' };
    case 'alpine': // between two releases
      return { name: 'alpine', tag: version?.includes('_alpha') ? 'edge' : version };
    default: // ubuntu, almalinux, fedora: ID and VERSION_ID as they stand
      return { name: id, tag: version };
  }
}

/** `bullseye` of `Debian GNU/Linux bullseye/sid`. */
function beforeSid({ prettyName }: OsRelease): string | undefined {
  return /\b([a-z]+)\/sid$/.exec(prettyName ?? '')?.[1];
}

function guessImage(
  kind: TaskRequest['kind'],
  index: Config['index'],
  os: OsRelease | undefined,
): ImageAnswer {
  const hub = os === undefined ? undefined : hubImage(os);
  if (hub?.tag === undefined) {
    return refused(
      'the task names no image and none can be guessed from /etc/os-release: set default in [containers.image]',
    );
  }
  const account = (kind === 'executor' ? index.accountLibmesos : undefined) ?? index.account ?? hub.own;
  const name = [index.index, account, hub.name].filter((part) => part !== undefined && part !== '').join('/');
  const answer = parseReference(`${name}:${hub.tag}`);
  return answer.ok ? answer : refused(`${answer.why} (guessed from /etc/os-release and [docker.index])`);
}

function shorten(text: string): string {
  return text.length <= 200 ? text : `${text.slice(0, 200)}…`;
}
