// The supervisor: its lock, whether it answers, and the port on which slaves reach it.

import { createConnection, createServer } from 'node:net';
import { loadConfig } from '../../config/load.ts';
import { errnoOf, isFault, oneLine } from '../../fault.ts';
import { readFact } from '../../host/facts.ts';
import { readText } from '../../host/kernel-files.ts';
import { type LockUse, lockUses } from '../../host/locks.ts';
import { listensAt } from '../../host/tcp-ports.ts';
import { containerPaths, type LockName, type RootPaths, rootPaths } from '../../state/layout.ts';
import { statesIn } from '../../state/resolve.ts';
import { checkRoot } from '../../state/root.ts';
import { needsSupervisor } from '../../state/store.ts';
import { isAnswering } from '../../supervisor/client.ts';
import type { Call } from '../call.ts';
import { type Finding, failure, ok, together, warning } from './finding.ts';

const ANSWER_MS = 5_000;
const CONNECT_MS = 2_000;
const LOCKS: readonly LockName[] = ['launch', 'wait', 'destroy'];

export interface Found {
  readonly paths: RootPaths;
  /** The supervisor that holds the root's lock. */
  readonly pid: number | undefined;
}

/** The root of the calls, and who looks after it; undefined where nobody has made it yet. Fault `config`. */
export function find(call: Call): Found | undefined {
  try {
    const paths = rootPaths(checkRoot(call.configuredRoot()));
    return { paths, pid: holderOf(paths.supervisorLock) };
  } catch (error) {
    if (!isFault(error, 'not-found')) throw error;
    return undefined;
  }
}

function holderOf(lock: string): number | undefined {
  return lockUses([lock])
    .get(lock)
    ?.uses.find(({ status }) => status === 'held')?.pid;
}

const NOTHING_YET = 'the state root is not there yet';

/** Held by a process that is none of deimos' nothing goes on, and nobody knows why. */
export function locks(call: Call): Finding {
  const found = find(call);
  if (found === undefined) return ok(NOTHING_YET);
  const { root, supervisorLock, startLock, wakeLock, cleanupLock } = found.paths;
  const states = statesIn([root]);
  const files = [
    ...[supervisorLock, startLock, wakeLock, cleanupLock],
    ...states.flatMap(({ id }) => LOCKS.map((name) => containerPaths(root, id).lock(name))),
  ];
  const uses = lockUses(files);
  const findings: Finding[] = [];
  let held = 0;
  for (const [path, { uses: ofPath }] of uses)
    for (const use of ofPath) {
      if (use.status === 'held') held += 1;
      if (!isOurs(use))
        findings.push(
          failure(
            `${path} is ${use.status === 'held' ? 'held' : 'waited for'} by pid ${use.pid}, which is no deimos`,
            `find out what it is (\`ps ${use.pid}\`) and end it`,
          ),
        );
    }
  return together(`${uses.size} files, ${held} held`, findings);
}

/** By its name: an older build's is ours, too; a wait that sleeps is flock(1). Gone meanwhile: nobody's fault. */
function isOurs({ pid }: LockUse): boolean {
  const name = readText(`/proc/${pid}/comm`)?.trim();
  return name === undefined || name.startsWith('deimos') || name === 'flock' || isCalledDeimos(pid);
}

/** Threads of the runtime give the process their own name. */
function isCalledDeimos(pid: number): boolean {
  return /(?:^|\/)deimos(?:\0|$)/.test(readText(`/proc/${pid}/cmdline`) ?? '');
}

export async function supervisor(call: Call): Promise<Finding> {
  const found = find(call);
  if (found === undefined) return ok(NOTHING_YET);
  const { paths, pid } = found;
  const waiting = statesIn([paths.root]).filter((state) => needsSupervisor(state.paths)).length;
  let answers: boolean;
  try {
    answers = await isAnswering(paths.root, call.version, ANSWER_MS);
  } catch (error) {
    if (!isFault(error)) throw error;
    return failure(
      `${pid === undefined ? 'it' : `pid ${pid}`} does not answer (${oneLine(error)})`,
      `see ${paths.supervisorLog}; killed with SIGKILL it is started again by the next call, and tasks go on`,
    );
  }
  if (answers) return ok(`pid ${pid ?? 'unknown'} answers, and looks after ${waiting} containers`);
  if (pid !== undefined)
    return failure(
      `pid ${pid} holds the lock and listens to nobody`,
      `see ${paths.supervisorLog}; killed with SIGKILL it is started again by the next call, and tasks go on`,
    );
  if (waiting === 0) return ok('none is needed: it starts with the next launch');
  return failure(
    `none lives, and ${waiting} containers need one`,
    `restart the slave, or call \`deimos recover </dev/null\`; ${paths.supervisorErrors} says why the last one could not start`,
  );
}

export async function executorPort(call: Call): Promise<Finding> {
  const found = find(call);
  const pid = found?.pid;
  const port = Number((found === undefined ? undefined : readFact(found.paths.port))?.trim());
  if (pid !== undefined && Number.isInteger(port) && port > 0) {
    const address = listensAt(pid, port);
    if (address === undefined)
      return failure(
        `the supervisor (pid ${pid}) does not listen on port ${port}`,
        'slaves cannot reach it: see its log for the port that was taken',
      );
    const why = await refusal(address, port);
    if (why === undefined) return ok(`${address}:${port}`);
    return failure(
      `nobody can connect to ${address}:${port} (${why})`,
      'let the firewall pass connections of this host to itself',
    );
  }
  const configured = loadConfig(call.place).config.executor.port;
  if (configured === undefined) return ok('none yet: the supervisor chooses one of 20000-29999');
  const why = await taken(configured);
  if (why === undefined) return ok(`${configured} as configured, free`);
  return warning(
    `port ${configured} of [executor] cannot be had (${why})`,
    'configure another one; until then the supervisor chooses one by itself',
  );
}

/** Why no connection comes about; undefined if one does. */
function refusal(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: host === '0.0.0.0' ? '127.0.0.1' : host, port });
    const done = (why: string | undefined): void => {
      socket.destroy();
      resolve(why);
    };
    socket.setTimeout(CONNECT_MS, () => done('no answer'));
    socket.on('connect', () => done(undefined));
    socket.on('error', (error) => done(errnoOf(error) ?? error.message));
  });
}

function taken(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.on('error', (error) => resolve(errnoOf(error) ?? error.message));
    server.listen({ host: '127.0.0.1', port }, () => server.close(() => resolve(undefined)));
  });
}
