// A supervisor that has looked after a thousand tasks has no more of anything than after a hundred: tasks come and go, and
// nothing of them stays, in its memory or on the host.

import assert from 'node:assert/strict';
import { copyFileSync, existsSync, readdirSync, readlinkSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { TaskState } from '../../src/mesos/messages.ts';
import { ALL_FAULTS, extent, FAULT_FILE_TIMEOUT_MS, tell } from '../support/faults.ts';
import { BINARY, type Host, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { allPids, procFile, statOf, treeOf } from '../support/proc.ts';
import { pssOf } from '../support/processes.ts';
import { notedRoots } from '../support/roots.ts';
import type { StandInSlave } from '../support/slave.ts';
import { commandTask } from '../support/tasks.ts';
import { type TempDirectory, tempDirectory } from '../support/temp.ts';
import { withSupervisorLog } from '../support/told.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { until } from '../support/until.ts';

const skip = await skipWithoutTools();
const { FINISHED } = TaskState;
/** A bound against hanging. */
const PATIENCE_MS = 150_000;
const AT_ONCE = 5;
/** After the first all that is made once has been made, pools and caches are full, the runtime has compiled what is hot. */
const FIRST_CYCLES = extent(10, 100);
const ALL_CYCLES = extent(30, 1000);
const PSS_GROWTH_MAX = 1.1;
/** Memory is what stays when nothing is going on: the least seen in so many looks. */
const LOOKS = extent(1, 40);
const LOOK_EVERY_MS = 500;
const MB = 1024 * 1024;
/** Each task publishes one: containers that end are not gone at once. */
const FIRST_PORT = 20_000;

/** How many there are of what tasks come with. */
interface Counts {
  readonly descriptors: number;
  readonly sockets: number;
  readonly locks: number;
  readonly children: number;
  readonly zombies: number;
  readonly containers: number;
  readonly networks: number;
  readonly volumes: number;
  readonly mounts: number;
  readonly cgroups: number;
  readonly stateFiles: readonly string[];
  readonly rootsNoted: number;
  readonly temporaryFiles: number;
}

describe('a supervisor whose tasks come and go', { skip, timeout: FAULT_FILE_TIMEOUT_MS }, () => {
  let host: Host;
  let own: TempDirectory;
  before(async () => {
    own = await tempDirectory('own-');
    // Pages of the program are divided among all who run it: those of another file come and go.
    copyFileSync(BINARY, own.at('deimos'));
    host = await startHost({ configuration: 'keep: 0', binary: own.at('deimos') });
  });
  after(async () => {
    await host[Symbol.asyncDispose]();
    await own[Symbol.asyncDispose]();
  });

  const supervisor = (): number => host.supervisor() ?? assert.fail('no supervisor');

  const cycle = async (slave: StandInSlave, n: number): Promise<void> => {
    const value = `echo ${n}; echo error >&2`;
    const task = await slave.launch(
      commandTask({ image: IMAGES.busybox, value, ports: [[FIRST_PORT + n, FIRST_PORT + n]] }),
    );
    const termination = await task.gone(PATIENCE_MS);
    assert.deepEqual([termination?.state, termination?.status], [FINISHED, 0]);
  };

  /** `to` of them in all, several at a time. */
  const cycles = async (slave: StandInSlave, from: number, to: number): Promise<void> => {
    const left = Array.from({ length: to - from }, (_, n) => from + n);
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        for (let n = left.shift(); n !== undefined; n = left.shift()) await cycle(slave, n);
      }),
    );
  };

  const counts = async (pid: number): Promise<Counts> => {
    const lines = async (args: readonly string[]): Promise<number> =>
      (await host.dockerd.run(args)).split('\n').filter(Boolean).length;
    const infos = readdirSync(`/proc/${pid}/fdinfo`).map((fd) => procFile(pid, `fdinfo/${fd}`) ?? '');
    const tree = treeOf([pid]).filter((child) => child !== pid);
    return {
      descriptors: infos.length,
      sockets: linksOf(pid).filter((link) => link.startsWith('socket:')).length,
      locks: infos.filter((info) => info.includes('lock:')).length,
      children: tree.length,
      zombies: allPids().filter((one) => statOf(one)?.state === 'Z' && statOf(one)?.parent === pid).length,
      containers: await lines(['ps', '-aq']),
      networks: await lines(['network', 'ls', '-q']),
      volumes: await lines(['volume', 'ls', '-q']),
      mounts: (procFile(host.dockerd.pid() ?? 0, 'mounts') ?? '').split('\n').length,
      cgroups: cgroupsBelow(host.dockerd.cgroupParent),
      stateFiles: readdirSync(host.root, { recursive: true }).map(String).sort(),
      rootsNoted: notedRoots(host.directory.path).length,
      temporaryFiles: ['/run', '/tmp']
        .flatMap((path) => readdirSync(path))
        .filter((name) => name.includes(`deimos-cli-${pid}`)).length,
    };
  };

  const leastPss = async (pid: number): Promise<number> => {
    let least = Number.POSITIVE_INFINITY;
    for (let look = 0; look < LOOKS; look++) {
      least = Math.min(least, pssOf(pid));
      await sleep(LOOK_EVERY_MS);
    }
    return least;
  };

  /** Nothing goes on any more, and the states have gone. */
  const isQuiet = async (): Promise<void> => {
    assert.deepEqual(await host.leftovers(), []);
    await until('no state', () => readdirSync(`${host.root}/mesos`).length === 0, { timeoutMs: PATIENCE_MS });
  };

  it(`has after ${ALL_CYCLES} no more of anything than after ${FIRST_CYCLES}`, async () => {
    await withSupervisorLog(host, async () => {
      const slave = await host.slave();
      await cycles(slave, 0, FIRST_CYCLES);
      await isQuiet();
      const pid = supervisor();
      const first = { counts: await counts(pid), pss: await leastPss(pid) };
      const began = performance.now();
      await cycles(slave, FIRST_CYCLES, ALL_CYCLES);
      const seconds = (performance.now() - began) / 1000;
      await isQuiet();
      assert.equal(supervisor(), pid);
      const last = { counts: await counts(pid), pss: await leastPss(pid) };
      tell(
        `${ALL_CYCLES} launches and ends, ${((ALL_CYCLES - FIRST_CYCLES) / seconds).toFixed(1)} a second: ` +
          `PSS after ${FIRST_CYCLES} ${(first.pss / MB).toFixed(1)} MB, then ${(last.pss / MB).toFixed(1)} MB; ` +
          `descriptors ${first.counts.descriptors}, then ${last.counts.descriptors}`,
      );
      console.log(JSON.stringify(last.counts));
      assert.deepEqual(last.counts, first.counts);
      if (ALL_FAULTS)
        assert.ok(last.pss <= first.pss * PSS_GROWTH_MAX, `${first.pss} bytes, then ${last.pss}`);
      assert.deepEqual(slave.violations, []);
    });
  });
});

function linksOf(pid: number): readonly string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch {
      // Closed meanwhile.
      return [];
    }
  });
}

/** Directories below a parent's, in every hierarchy. */
function cgroupsBelow(parent: string): number {
  const hierarchies = ['', ...readdirSync('/sys/fs/cgroup').map((name) => `/${name}`)];
  const places = hierarchies
    .map((name) => `/sys/fs/cgroup${name}${parent}`)
    .filter((path) => existsSync(path));
  return places.reduce(
    (sum, path) =>
      sum + readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory()).length,
    0,
  );
}
