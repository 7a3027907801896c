// `deimos plan`: what the Launch record on stdin would create, without creating it (an absent image is pulled: the plan depends on it): as the JSON that Docker would get and
// as the `docker run` line that a person would type. Values of the environment are masked in both.

import type { CreateRequest } from '../container/create-request.ts';
import { dockerRunLine } from '../container/docker-run-line.ts';
import { mayPass } from '../docker/faults.ts';
import { withFields } from '../host/log.ts';
import { persist } from '../host/pauses.ts';
import { readRecord } from '../mesos/record.ts';
import { DockerHosts } from '../supervisor/docker-host.ts';
import { prepare } from '../supervisor/preparation.ts';
import type { Call } from './call.ts';
import { readRequestRecord } from './launch.ts';

/** A daemon that is away is not waited for: a person is. */
const AWAY_BOUND_MS = 2_000;

/** Exit status 0. Faults: `refused` with the line that a launch would fail with, `docker`, `protocol`, `config`. */
export async function plan(call: Call, write: (text: string) => void): Promise<number> {
  const request = await readRequestRecord(call, await readRecord());
  const host = new DockerHosts().for(request.config, request.slaveEnvironment);
  const root = call.options.root ?? request.config.state.root;
  const log = withFields(call.log, {});
  const { signal } = new AbortController();
  const options = { signal, log, mayPass, what: 'choosing the daemon', boundMs: AWAY_BOUND_MS };
  const daemon = await persist(() => host.choose(signal), options);
  const created = await prepare(
    { request, root, daemon, log },
    {
      signal,
      onProgress: (text) => call.log.info(text),
      awayBoundMs: AWAY_BOUND_MS,
    },
  );
  const { line, notShown } = dockerRunLine(created);
  write(`${JSON.stringify(masked(created), undefined, 2)}\n${line}\n`);
  if (notShown.length > 0) write(`# not on the line: ${notShown.join(', ')}\n`);
  return 0;
}

function masked(request: CreateRequest): CreateRequest {
  const Env = request.body.Env?.map((entry) => entry.replace(/=.*/s, '=***'));
  return { ...request, body: { ...request.body, ...(Env === undefined ? {} : { Env }) } };
}
