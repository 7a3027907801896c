// A disk that takes so many bytes a second and no more: a file system of its own, each write of which goes to the disk
// before it is done, throttled by the kernel for the processes that are put there.

import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { truncate } from 'node:fs/promises';
import { basename } from 'node:path';
import { output } from './command.ts';
import { until } from './until.ts';

const CGROUPS = '/sys/fs/cgroup';
/** Enough for what a test writes; takes no space until it is written. */
const DISK_BYTES = 512 * 1024 * 1024;

export interface SlowDisk extends AsyncDisposable {
  readonly path: string;
  /** From now on the disk is slow for this process, all its threads and what it starts. */
  slowFor(pid: number): void;
  /** Each process that was put there has ended when this is called. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Makes one at `path` (its image beside it). */
export async function makeSlowDisk(path: string, bytesPerSecond: number): Promise<SlowDisk> {
  const image = `${path}.image`;
  writeFileSync(image, '');
  await truncate(image, DISK_BYTES);
  await output(['mkfs.ext4', '-q', '-O', '^has_journal', image]);
  mkdirSync(path);
  const loop = await output(['losetup', '--find', '--show', image]);
  const device = readFileSync(`/sys/block/${basename(loop)}/dev`, 'utf8').trim();
  const isOld = existsSync(`${CGROUPS}/blkio`);
  const cgroup = `${isOld ? `${CGROUPS}/blkio` : CGROUPS}/slow-disk-${basename(loop)}-${process.pid}`;
  await output(['mount', '-o', 'sync', loop, path]);
  mkdirSync(cgroup);
  if (isOld) writeFileSync(`${cgroup}/blkio.throttle.write_bps_device`, `${device} ${bytesPerSecond}`);
  else {
    writeFileSync(`${CGROUPS}/cgroup.subtree_control`, '+io');
    writeFileSync(`${cgroup}/io.max`, `${device} wbps=${bytesPerSecond}`);
  }
  return {
    path,
    slowFor: (pid) => writeFileSync(`${cgroup}/cgroup.procs`, String(pid)),
    [Symbol.asyncDispose]: async () => {
      await output(['umount', path]);
      await output(['losetup', '--detach', loop]);
      // The kernel takes a moment with what has ended.
      const isEmpty = (): boolean => readFileSync(`${cgroup}/cgroup.procs`, 'utf8') === '';
      await until('the cgroup is empty', isEmpty);
      rmdirSync(cgroup);
    },
  };
}
