// What a task's URIs mean: where each is had from, under which name it lands in the sandbox, and whether it is unpacked.
// Pure: nothing is looked up. A name that would leave the sandbox is refused here, before anything is fetched.

import type { Source } from '../host/fetch.ts';
import type { Uri } from './task.ts';

/** The directory below the target in which files are made ready; no file of a task can have its name. */
export const STAGING_NAME = '.deimos-fetching';

export interface Fetch {
  /** The URI without what may be secret in it, for messages. */
  readonly shown: string;
  readonly source: Source;
  /** Relative to the target: one name, or with directories before it. */
  readonly file: string;
  readonly executable: boolean;
  /** Unpacked into the target itself, whatever directory `file` names; the archive does not stay. */
  readonly unpack?: 'tar' | 'zip';
}

export type UrisAnswer =
  | { readonly ok: true; readonly fetches: readonly Fetch[] }
  | { readonly ok: false; readonly why: string };

export interface UrisInput {
  readonly uris: readonly Uri[];
  /** `[uris] unpack`. */
  readonly unpack: boolean;
  /** MESOS_FRAMEWORKS_HOME: what relative paths are relative to. */
  readonly frameworksHome?: string;
}

/** More than any task has; each is a few processes. */
const URIS_MAX = 1000;
/** The kernel's bound on one component of a path. */
const NAME_BYTES_MAX = 255;

const SCHEMES: ReadonlyMap<string, Exclude<Source['by'], 'copy'>> = new Map([
  ['http', 'curl'],
  ['https', 'curl'],
  ['ftp', 'curl'],
  ['ftps', 'curl'],
  ['s3', 'aws'],
  ['hdfs', 'hadoop'],
  ['hftp', 'hadoop'],
  ['webhdfs', 'hadoop'],
  ['s3n', 'hadoop'],
  ['s3a', 'hadoop'],
]);

/** The suffixes that Mesos' own fetcher unpacks, and `.tar`. */
const ARCHIVES: readonly (readonly [RegExp, 'tar' | 'zip'])[] = [
  [/\.(?:tar|tgz|tar\.gz|tbz2|tar\.bz2|txz|tar\.xz)$/, 'tar'],
  [/\.zip$/, 'zip'],
];

/** All of a task's URIs in the order of the record, or why they cannot be had: one line that names the URI. */
export function planUris({ uris, unpack, frameworksHome }: UrisInput): UrisAnswer {
  if (uris.length > URIS_MAX) return { ok: false, why: `the task has more than ${URIS_MAX} URIs` };
  const fetches: Fetch[] = [];
  for (const uri of uris) {
    const planned = planUri(uri, unpack, frameworksHome);
    if (typeof planned === 'string') {
      return { ok: false, why: `uri ${JSON.stringify(shownUri(uri.value)).slice(1, -1)}: ${planned}` };
    }
    fetches.push(planned);
  }
  return { ok: true, fetches };
}

/** The fetch, or what is wrong with the URI. */
function planUri(uri: Uri, unpack: boolean, frameworksHome: string | undefined): Fetch | string {
  const { value, executable } = uri;
  if (value === '') return 'it is empty';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(value)) return 'it has a control character';
  const source = sourceOf(value, frameworksHome);
  if (typeof source === 'string') return source;
  const file = uri.outputFile ?? baseName(value);
  const wrong = wrongWithName(file);
  if (wrong !== undefined) return wrong;
  const kind = executable || !uri.extract || !unpack ? undefined : archiveKind(file);
  return {
    shown: shownUri(value),
    source,
    file,
    executable,
    ...(kind === undefined ? {} : { unpack: kind }),
  };
}

function sourceOf(value: string, frameworksHome: string | undefined): Source | string {
  const [, scheme, rest = ''] = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/(.*)$/s.exec(value) ?? [];
  if (scheme === undefined) {
    if (value.startsWith('/')) return { by: 'copy', path: value };
    if (!frameworksHome?.startsWith('/')) {
      return 'a relative path needs the slave to have MESOS_FRAMEWORKS_HOME, an absolute one';
    }
    return { by: 'copy', path: `${frameworksHome.replace(/\/+$/, '')}/${value}` };
  }
  if (scheme.toLowerCase() === 'file') {
    const path = rest.replace(/^localhost(?=\/)/, '');
    return path.startsWith('/') ? { by: 'copy', path } : 'a file of another host cannot be had';
  }
  const by = SCHEMES.get(scheme.toLowerCase());
  if (by === undefined)
    return `'${scheme}' is not a scheme that can be fetched (${[...SCHEMES.keys(), 'file'].join(', ')})`;
  return { by, url: value };
}

/** The last component of the path; for what curl fetches without query and fragment, which are no part of it. */
function baseName(value: string): string {
  const [, scheme = '', rest = ''] = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/(.*)$/s.exec(value) ?? [];
  const isUrl = SCHEMES.get(scheme.toLowerCase()) === 'curl';
  const path = scheme === '' ? value : isUrl ? rest.replace(/[?#].*$/s, '') : rest;
  // Without a slash behind the host there is no path.
  if (scheme !== '' && !path.includes('/')) return '';
  return path.slice(path.lastIndexOf('/') + 1);
}

function wrongWithName(file: string): string | undefined {
  if (file === '') return 'it names a directory, not a file';
  const name = JSON.stringify(file).slice(1, -1);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(file)) return `the file name ${name} has a control character`;
  if (file.startsWith('/')) return `the file name ${name} is not relative to the sandbox`;
  const components = file.split('/');
  if (components.includes('..')) return `the file name ${name} leads out of the sandbox`;
  if (components.some((component) => component === '' || component === '.'))
    return `the file name ${name} is not one`;
  if (components[0] === STAGING_NAME) return `the file name ${name} is taken`;
  if (components.some((component) => utf8Bytes(component) > NAME_BYTES_MAX))
    return `the file name is longer than ${NAME_BYTES_MAX} bytes`;
  return undefined;
}

function utf8Bytes(text: string): number {
  return new TextEncoder().encode(text).length;
}

/** By suffix alone, as Mesos decides. */
function archiveKind(file: string): 'tar' | 'zip' | undefined {
  return ARCHIVES.find(([suffix]) => suffix.test(file))?.[1];
}

/** Whether the member of an archive would land outside the directory it is unpacked in, or in ours. */
export function leavesArchive(member: string): boolean {
  const components = member.split('/');
  const first = components.find((component) => component !== '.' && component !== '');
  return member.startsWith('/') || components.includes('..') || first === STAGING_NAME;
}

/** Without the parts that carry secrets: `user:password@` and the query (signatures, tokens). */
export function shownUri(value: string): string {
  const [, scheme, authority = '', rest = ''] =
    /^([A-Za-z][A-Za-z0-9+.-]*:\/\/)([^/?#]*)(.*)$/s.exec(value) ?? [];
  if (scheme === undefined) return value;
  const host = authority.slice(authority.lastIndexOf('@') + 1);
  const isPath = scheme.toLowerCase() === 'file://';
  return `${scheme}${host === authority ? '' : '***@'}${host}${isPath ? rest : rest.replace(/\?.*$/s, '?***')}`;
}
