// What stands in for the request of a container whose container.json cannot be read any more. By it nothing is started and
// nobody is told; what Docker has of the container is followed to its end, its output goes on, a `destroy` is carried out,
// and its `wait` is answered.

import { readlinkSync } from 'node:fs';
import { DEFAULT_CONFIG } from '../config/schema.ts';
import type { MesosContainerId } from '../container/identity.ts';
import { errnoOf } from '../fault.ts';
import { readFact } from '../host/facts.ts';
import type { ContainerPaths } from '../state/layout.ts';
import { REQUEST_VERSION, type RequestRecord } from '../state/records.ts';

/** Made of what other facts say. */
export function lostRequest(paths: ContainerPaths, id: MesosContainerId): RequestRecord {
  const host = readFact(paths.dockerHost)?.trim();
  return {
    version: REQUEST_VERSION,
    lost: `the request cannot be read (${paths.request}): what was to be run is not known`,
    task: {
      ...{ kind: 'command', containerId: id, frameworkId: '', executorId: id, name: id, slaveId: '' },
      sandbox: sandboxOf(paths) ?? paths.directory,
      checkpoint: true,
      command: { shell: true, arguments: [], environment: [], uris: [] },
      resources: { ports: [] },
    },
    slaveEnvironment: {},
    config: host === undefined ? DEFAULT_CONFIG : { ...DEFAULT_CONFIG, docker: { host: [host] } },
    launchedAt: readFact(paths.startTime)?.trim() ?? '',
  };
}

function sandboxOf(paths: ContainerPaths): string | undefined {
  try {
    return /^(\/.*)\/fs$/.exec(readlinkSync(paths.fs))?.[1];
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}
