// What a dockerd of the tests may leave behind: processes, cgroups, and, when the test that started it was SIGKILLed, its
// directory. Finds and removes only what bears a name that startDockerd made, never anything of the machine's dockerd.

import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { allPids, argvOf, statOf, treeOf } from './proc.ts';

export const DIRECTORY_PREFIX = 'dd-';
const CGROUP_ROOT = '/sys/fs/cgroup';
const NOTE = 'owner.json';
const CGROUP_NAME = /^deimos-test-[0-9a-f]{12}$/;

interface Note {
  readonly pid: number;
  readonly startTicks: number;
  readonly cgroup: string;
}

/** Notes in a dockerd's directory which process it belongs to and what its cgroups are called. */
export function leaveNote(directory: string, cgroup: string): void {
  const note: Note = { pid: process.pid, startTicks: statOf(process.pid)?.startTicks ?? 0, cgroup };
  writeFileSync(join(directory, NOTE), JSON.stringify(note));
}

/** Removes directories and cgroups of tests that were SIGKILLed, where nothing of theirs runs any more. */
export function sweepAborted(): void {
  for (const name of readdirSync(tmpdir()).filter((entry) => entry.startsWith(DIRECTORY_PREFIX))) {
    const directory = join(tmpdir(), name);
    const file = join(directory, NOTE);
    // Anybody may write in /tmp.
    if (!existsSync(file) || statSync(directory).uid !== process.getuid?.()) continue;
    try {
      // Written by leaveNote alone.
      const note = JSON.parse(readFileSync(file, 'utf8')) as Note;
      if (!CGROUP_NAME.test(note.cgroup)) continue;
      const alive = statOf(note.pid)?.startTicks === note.startTicks;
      if (alive || leftovers(directory, note.cgroup).length > 0) continue;
      removeCgroups(note.cgroup);
      rmSync(directory, { recursive: true, force: true });
    } catch {
      // Half written, or another test is sweeping the same one: the next will find it.
    }
  }
}

/** Shims, containerd and containers that are this dockerd's and outlived it. The exec root's name is nobody else's. */
export function leftovers(execRoot: string, cgroup: string | undefined): number[] {
  const shims = allPids().filter((pid) => argvOf(pid)?.some((word) => word.startsWith(`${execRoot}/`)));
  const inCgroups = cgroup === undefined ? [] : cgroupDirectories(cgroup).flatMap(processesOf);
  return [...new Set([...treeOf(shims), ...inCgroups])].filter((pid) => pid > 1 && pid !== process.pid);
}

/** Every directory of that name directly below a hierarchy's root (or the one root of cgroup v2), deepest first. */
function cgroupDirectories(name: string): string[] {
  const hierarchies = readdirSync(CGROUP_ROOT).map((entry) => join(CGROUP_ROOT, entry));
  const tops = [CGROUP_ROOT, ...hierarchies].map((root) => join(root, name)).filter((top) => existsSync(top));
  const below = (top: string): string[] => [
    ...readdirSync(top, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .flatMap((entry) => below(join(top, entry.name))),
    top,
  ];
  return tops.flatMap(below);
}

function processesOf(directory: string): number[] {
  return readFileSync(join(directory, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
}

/** Removes them; all their processes must be gone. */
export function removeCgroups(name: string): void {
  for (const directory of cgroupDirectories(name)) rmdirSync(directory);
}
