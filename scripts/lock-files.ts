// Reads what npm's lock files pin: which release of which package, and the hash of its archive.

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { LOCKS } from './runtimes.ts';

const root = resolve(import.meta.dirname, '..');

export interface LockedPackage {
  readonly version: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly link?: boolean;
  readonly inBundle?: boolean;
  readonly hasInstallScript?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

export interface LockFile {
  readonly lockfileVersion: number;
  /** By path; the project itself has the empty one. */
  readonly packages: Readonly<Record<string, LockedPackage>>;
}

export function readLockFile(file: (typeof LOCKS)[number]): LockFile {
  return JSON.parse(readFileSync(resolve(root, file), 'utf8')) as LockFile;
}

/** The path of what `name` means to the package at `from`, as Node looks for it: in its own node_modules, then further out. */
export function resolveDependency({ packages }: LockFile, from: string, name: string): string | undefined {
  for (let at = from; ; at = at.slice(0, Math.max(0, at.lastIndexOf('/node_modules/')))) {
    const path = `${at === '' ? '' : `${at}/`}node_modules/${name}`;
    if (packages[path] !== undefined) return path;
    if (at === '') return undefined;
  }
}
