// The docker client, which translates options and finds logins, and the daemon that is configured.

import { loadConfig } from '../../config/load.ts';
import { connectionOf, formatEndpoint } from '../../docker/connection.ts';
import { Engine } from '../../docker/engine.ts';
import { Fault } from '../../fault.ts';
import { runBriefly } from '../../host/brief.ts';
import { findProgram } from '../../host/programs.ts';
import type { Call } from '../call.ts';
import { type Finding, failure, ok, together, warning } from './finding.ts';

const CLIENT_BOUND_MS = 5_000;
const DAEMON_BOUND_MS = 10_000;
const DAEMON_JSON = '/etc/docker/daemon.json';

export async function dockerClient(): Promise<Finding> {
  const install = 'install Docker’s client (docker.io, docker-ce-cli or moby-cli)';
  let program: string;
  try {
    program = findProgram('docker');
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return failure(error.message, install);
  }
  const end = await runBriefly([program, '--version'], CLIENT_BOUND_MS);
  if (end === undefined) return failure(`${program} does not answer`, 'see what it waits for');
  const said = end.stdout.trim().split('\n')[0] ?? '';
  if (end.status !== 0) return failure(`${program} --version ends with status ${end.status}`, install);
  return ok(`${program}: ${said}`);
}

export async function dockerDaemon(call: Call): Promise<Finding> {
  const { config } = loadConfig(call.place);
  const environment = Object.fromEntries(
    Object.entries(call.environment).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
  const connection = connectionOf(config.docker, environment, config.index.dockercfg);
  const signal = AbortSignal.timeout(DAEMON_BOUND_MS);
  let engine: Engine;
  let version: Readonly<Record<string, unknown>>;
  let info: Readonly<Record<string, unknown>>;
  try {
    engine = await Engine.connect(connection, signal);
    [version, info] = [await engine.version(signal), await engine.info(signal)];
  } catch (error) {
    const where = connection.endpoints.map(formatEndpoint).join(', ');
    if (error instanceof Fault) return failure(error.message, startIt(where));
    if (signal.aborted)
      return failure(`${where} does not answer within ${DAEMON_BOUND_MS / 1000} s`, startIt(where));
    throw error;
  }
  const is = (value: unknown): boolean => value === true;
  const findings: Finding[] = [];
  if (!is(info.LiveRestoreEnabled))
    findings.push(
      warning(
        'live-restore is off: a restart of Docker ends all tasks',
        `set "live-restore": true in ${DAEMON_JSON} and reload Docker`,
      ),
    );
  if (info.MemoryLimit === false)
    findings.push(failure('the kernel limits no memory of containers', 'boot it with cgroup_enable=memory'));
  if (info.CpuCfsQuota === false && config.limits.cfs)
    findings.push(
      warning('the kernel has no CFS quota, which [containers.limits] cfs asks for', 'set cfs: false'),
    );
  const words = [
    `${text(version.Version)} at ${formatEndpoint(engine.endpoint)}`,
    `API ${text(version.ApiVersion)}`,
    `cgroup v${text(info.CgroupVersion)} (${text(info.CgroupDriver)})`,
    is(info.LiveRestoreEnabled) ? 'live-restore on' : 'live-restore off',
  ];
  return together(words.join(', '), findings);
}

function startIt(where: string): string {
  return where.startsWith('unix:')
    ? 'start it (`systemctl start docker`), or mend [docker] host'
    : 'see that it runs there, or mend [docker] host';
}

function text(value: unknown): string {
  return typeof value === 'string' && value !== '' ? value : 'unknown';
}
