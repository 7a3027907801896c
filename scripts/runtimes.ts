// The Node runtimes that executables are made of, and how this machine, an x64, runs what is made for each: for arm64 by
// qemu-user, with the libraries that scripts/setup has put beside. Code caches and blobs are made by the runtime that reads them.

import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');

/** What pins each. */
export const LOCKS = ['package-lock.json', 'packaging/arm64/package-lock.json'] as const;

/**
 * What the runtime is started with. Warnings would end up in a task's stderr. A runtime that may not start all of its
 * threads waits for them for ever: one of V8's instead of four leaves that one chance where the host is out of processes.
 * V8 flags that were measured and not taken: --single-threaded, --no-opt, --initial-heap-size and
 * the like change nothing at start; --no-rehash-snapshot saves 5 of 30 ms of CPU, but leaves the hash seed that
 * everybody can read in the runtime, and then whoever writes a record can make every lookup in it slow.
 * V8 lets the space for what is young grow to 64 MB and keeps it; what it collects late, it frees the buffers of late. With
 * 1 MB, which is what it begins with, the supervisor stays small and uses no more CPU.
 * V8's compilers run in the program's own thread: one that runs beside it and finds its heap full waits for that thread to
 * collect, and at its end the program waits for the compiler. So one in eight calls with a record of 64 MB never ended.
 * What the slave's environment has in OPENSSL_CONF, by which libraries are loaded, is for other programs.
 */
export const RUNTIME_ARGUMENTS = [
  '--no-warnings',
  '--v8-pool-size=1',
  '--max-semi-space-size=1',
  '--no-concurrent-sparkplug',
  '--no-concurrent-recompilation',
  '--openssl-config=/dev/null',
];

export type Architecture = 'x64' | 'arm64';
export type Command = readonly [program: string, ...words: string[]];

export interface Runtime {
  readonly file: string;
  /** Runs it; its arguments go behind. */
  readonly command: Command;
}

export function isArchitecture(word: string): word is Architecture {
  return word === 'x64' || word === 'arm64';
}

export function runtimeFor(architecture: Architecture): Runtime {
  const packages = architecture === 'x64' ? root : join(root, 'packaging', architecture);
  const file = join(packages, 'node_modules', `node-linux-${architecture}`, 'bin/node');
  return { file, command: commandOf(architecture, file) };
}

/** What runs an executable for that architecture here. */
export function commandOf(architecture: Architecture, executable: string): Command {
  if (architecture === 'x64') return [executable];
  return ['qemu-aarch64', '-L', join(root, 'dist/sysroot-arm64'), executable];
}
