// `deimos plan`: what a Launch record or a Marathon app would create, without creating it (an absent image is pulled: the plan
// depends on it): as the JSON that Docker would get and as the `docker run` line that a person would type. Values of the
// environment are masked in both; what only a slave knows is assumed for an app, and named in the output.

import { closeSync, openSync } from 'node:fs';
import { hostname } from 'node:os';
import type { CreateRequest } from '../container/create-request.ts';
import { dockerRunLine } from '../container/docker-run-line.ts';
import { mesosContainerId } from '../container/identity.ts';
import { marathonTask } from '../container/marathon.ts';
import { mayPass } from '../docker/faults.ts';
import { errnoOf, Fault } from '../fault.ts';
import { withFields } from '../host/log.ts';
import { persist } from '../host/pauses.ts';
import { readRecordOrText } from '../mesos/record.ts';
import type { RequestRecord } from '../state/records.ts';
import { DockerHosts } from '../supervisor/docker-host.ts';
import { prepare } from '../supervisor/preparation.ts';
import { jsonText } from '../terminal/text.ts';
import type { Call } from './call.ts';
import { readCircumstances, readRequestRecord } from './launch.ts';

/** A daemon that is away is not waited for: a person is. */
const AWAY_BOUND_MS = 2_000;
/** What a slave offers unless told otherwise. */
const ASSUMED_OFFER = { begin: 31_000, end: 32_000 } as const;
const ASSUMED_CONTAINER = 'planned';
const ASSUMED_SANDBOX = '/var/lib/mesos/sandbox';

interface Given {
  readonly request: RequestRecord;
  /** One line each: what the input did not say. */
  readonly assumed: readonly string[];
}

/** Reads `file`, or stdin. Exit status 0. Faults: `refused` with the line that a launch would fail with, `docker`, `protocol`, `config`, `host`. */
export async function plan(
  call: Call,
  file: string | undefined,
  write: (text: string) => void,
): Promise<number> {
  const { request, assumed } = await given(call, file);
  const log = withFields(call.log, {});
  const host = new DockerHosts(log).for(request.config, request.slaveEnvironment);
  const root = call.options.root ?? request.config.state.root;
  const { signal } = new AbortController();
  const options = { signal, log, mayPass, what: 'choosing the daemon', boundMs: AWAY_BOUND_MS };
  const daemon = await persist(() => host.choose(signal), options);
  const created = await prepare(
    { request, root, daemon, log },
    {
      signal,
      // The log has a line for a pull that takes long.
      onProgress: () => {},
      awayBoundMs: AWAY_BOUND_MS,
    },
  );
  const { line, notShown } = dockerRunLine(created);
  write(`${jsonText(masked(created))}\n${line}\n`);
  if (notShown.length > 0) write(`# not on the line: ${notShown.join(', ')}\n`);
  for (const one of assumed) write(`# assumed: ${one}\n`);
  return 0;
}

async function given(call: Call, file: string | undefined): Promise<Given> {
  using source = open(file);
  const input = await readRecordOrText(source.fd);
  return 'record' in input
    ? { request: await readRequestRecord(call, input.record), assumed: [] }
    : await ofApp(call, input.text);
}

async function ofApp(call: Call, bytes: Buffer): Promise<Given> {
  const circumstances = await readCircumstances(call);
  const containerId = mesosContainerId(ASSUMED_CONTAINER);
  if (containerId === undefined) throw new Error('the assumed container has no name');
  const { task, assignedPorts } = marathonTask(textOf(bytes), {
    ...{ containerId, sandbox: ASSUMED_SANDBOX, offer: ASSUMED_OFFER },
    ...{ host: hostname(), now: circumstances.launchedAt },
  });
  const { begin, end } = ASSUMED_OFFER;
  const ports = `ports ${assignedPorts.join(', ')}, of an offer of ${begin}-${end}`;
  return {
    request: { ...circumstances, task },
    assumed: [
      `container id ${containerId}, sandbox ${ASSUMED_SANDBOX}, slave on ${hostname()}`,
      ...(assignedPorts.length === 0 ? [] : [ports]),
    ],
  };
}

function textOf(bytes: Buffer): string {
  const neither = 'what was given is neither a Launch record nor a Marathon app';
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    if (!/^\s*[[{]/.test(text)) throw new Fault('protocol', neither);
    return text;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new Fault('protocol', neither, error);
  }
}

function open(file: string | undefined): Disposable & { readonly fd: number } {
  if (file === undefined) return { fd: 0, [Symbol.dispose]: () => {} };
  try {
    const fd = openSync(file, 'r');
    return { fd, [Symbol.dispose]: () => closeSync(fd) };
  } catch (error) {
    const code = errnoOf(error);
    if (code === undefined) throw error;
    throw new Fault('host', `cannot read ${file}: ${code}`, error);
  }
}

function masked(request: CreateRequest): CreateRequest {
  const Env = request.body.Env?.map((entry) => entry.replace(/=.*/s, '=***'));
  return { ...request, body: { ...request.body, ...(Env === undefined ? {} : { Env }) } };
}
