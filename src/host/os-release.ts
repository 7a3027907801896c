// Which distribution this host is, from /etc/os-release: the guess for tasks that name no image.

import { readFileSync } from 'node:fs';
import { errnoOf } from '../fault.ts';

export interface OsRelease {
  readonly id?: string;
  readonly versionId?: string;
  readonly versionCodename?: string;
  readonly prettyName?: string;
}

const PLACES = ['/etc/os-release', '/usr/lib/os-release'];

/** undefined where there is no such file. */
export function readOsRelease(): OsRelease | undefined {
  for (const path of PLACES) {
    try {
      return parseOsRelease(readFileSync(path, 'utf8'));
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
  }
  return undefined;
}

/** The file is a list of shell assignments; quotes are taken off, escapes in them undone. */
export function parseOsRelease(text: string): OsRelease {
  const values = new Map<string, string>();
  for (const line of text.split('\n')) {
    const match = /^([A-Z_]+)=(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|(\S*))\s*$/.exec(line.trim());
    if (match?.[1] === undefined) continue;
    values.set(match[1], match[2]?.replace(/\\(.)/g, '$1') ?? match[3] ?? match[4] ?? '');
  }
  const id = values.get('ID');
  const versionId = values.get('VERSION_ID');
  const versionCodename = values.get('VERSION_CODENAME');
  const prettyName = values.get('PRETTY_NAME');
  return {
    ...(id ? { id } : {}),
    ...(versionId ? { versionId } : {}),
    ...(versionCodename ? { versionCodename } : {}),
    ...(prettyName ? { prettyName } : {}),
  };
}
