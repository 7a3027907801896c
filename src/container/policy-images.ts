// Which images an operator's list allows. A name is looked at in its full form, as Docker completes it, so that no
// shorter spelling of one is another image to the list. Pure.

const HUB = 'docker.io';
/** Digests go before tags in Docker: of `name:tag@digest` the tag says nothing. */
const PARTS = /^([^@]*?)(?::([^/:@]*))?(?:@(.*))?$/s;
/** `sha256:0123…` is not a name with a tag to Docker, but the id of whichever image is here. */
const ID_ALGORITHM = /^sha\d+$/;

/** Whether text is a registry or a glob that `isImageAllowed` can hold a name against. */
export function isImagePattern(text: string): boolean {
  return /^[^\s/][^\s]*$/.test(text) && !/\/\//.test(text);
}

/**
 * Whether one of the patterns allows an image. A pattern is a registry (`registry.example.com`, `localhost:5000/`), or a
 * name with `*` for any characters but `/`, `?` for one of them, `**` for any at all; `team/*` is of Docker's hub, as it
 * would be in `docker run`. One without tag and digest allows all of them. An image named by its id is never allowed:
 * nothing says where it came from.
 */
export function isImageAllowed(image: string, patterns: readonly string[]): boolean {
  const { name, tag, digest } = parts(image);
  if (ID_ALGORITHM.test(name)) return false;
  const full = fullName(name);
  const version = digest === undefined ? `${full}:${tag ?? 'latest'}` : `${full}@${digest}`;
  return patterns.some((pattern) => {
    if (isRegistry(pattern)) return full.startsWith(`${pattern.replace(/\/$/, '')}/`);
    const wanted = parts(pattern);
    const glob = fullName(wanted.name);
    if (wanted.digest !== undefined) return matches(version, `${glob}@${wanted.digest}`);
    return wanted.tag === undefined ? matches(full, glob) : matches(version, `${glob}:${wanted.tag}`);
  });
}

interface Parts {
  readonly name: string;
  readonly tag: string | undefined;
  readonly digest: string | undefined;
}

function parts(text: string): Parts {
  const [, name = text, tag, digest] = PARTS.exec(text) ?? [];
  return { name, tag, digest };
}

/** With a slash at its end, or without any and with a dot as names of hosts have: no image of the hub has one there. */
function isRegistry(pattern: string): boolean {
  if (/[*?]/.test(pattern)) return false;
  return /^[^/]+\/$/.test(pattern) || /^(?:[^/:]*\.[^/:]*|localhost)(?::\d+)?$/.test(pattern);
}

/** `debian` → `docker.io/library/debian`. The first component is a registry as Docker tells it, or a glob of one. */
function fullName(name: string): string {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const isDomain = /[.:*]/.test(first) || first === 'localhost' || first !== first.toLowerCase();
  const domain = !isDomain ? HUB : first === `index.${HUB}` ? HUB : first;
  const path = isDomain ? name.slice(slash + 1) : name;
  return domain === HUB && !path.includes('/') && path !== '**'
    ? `${domain}/library/${path}`
    : `${domain}/${path}`;
}

function matches(text: string, glob: string): boolean {
  const source = glob.replace(/\*\*|[*?]|[^*?]+/g, (piece) => {
    if (piece === '**') return '.*';
    if (piece === '*') return '[^/]*';
    return piece === '?' ? '[^/]' : piece.replace(/[.+^${}()|[\]\\]/g, '\\$&');
  });
  return new RegExp(`^${source}$`, 's').test(text);
}
