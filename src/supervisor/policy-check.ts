// The operator's policy, applied: finds what container/policy.ts has to know beside the create request (what the
// operator's own options come to, where host paths lead), and refuses what it refuses. Nothing is done where the
// configuration has no rule.

import { isDeepStrictEqual } from 'node:util';
import type { Policy } from '../config/schema.ts';
import type { CreateRequest } from '../container/create-request.ts';
import type { TaskOptions } from '../container/options.ts';
import { isRestricting, judge, judgePath, pathsToResolve } from '../container/policy.ts';
import type { Fetch } from '../container/uris.ts';
import type { Translation } from '../docker/translate.ts';
import { Fault } from '../fault.ts';
import { whereItLeads } from '../host/real-path.ts';
import type { RequestRecord } from '../state/records.ts';

export interface PolicyTerms {
  readonly policy: Policy;
  readonly sandbox: string;
  readonly options: TaskOptions;
  /** What the options come to; undefined where there are none. */
  readonly translation: Translation | undefined;
}

/**
 * Holds a request against the policy: as Docker may have it, the same but that under a rule about volumes host paths
 * stand without links in them. Fault `refused` with the line that names the rule, and the Faults of looking up paths.
 */
export type PolicyCheck = (request: CreateRequest, signal: AbortSignal) => Promise<CreateRequest>;

/** Made once for a task. Faults of `translate`. */
export async function policyCheck(
  { policy, sandbox, options, translation }: PolicyTerms,
  translate: (words: readonly string[]) => Promise<Translation>,
): Promise<PolicyCheck> {
  if (!isRestricting(policy)) return async (request) => request;
  const known = (words: readonly string[]): Promise<Translation> =>
    translation !== undefined && isDeepStrictEqual(words, options.options)
      ? Promise.resolve(translation)
      : translate(words);
  const operator = options.operators.length === 0 ? undefined : await known(options.operators);
  const isAsked = policy.options !== undefined && translation !== undefined;
  const terms = {
    ...{ policy, sandbox },
    operator: operator?.request.body,
    words: isAsked ? { all: translation, granted: await known(options.granted) } : undefined,
  };
  return async (request, signal) => {
    const resolved = await lookedUp(pathsToResolve({ ...terms, request }), signal);
    const answer = judge({ ...terms, request, resolved });
    if (!answer.ok) throw new Fault('refused', answer.why);
    return answer.request;
  };
}

/**
 * What is to be fetched, of which files of the host are held against the rule about volumes and stand without links in
 * them: from the allowed paths, from `sandbox`, and from where the slave has its frameworks' files. Faults as PolicyCheck,
 * naming the URI.
 */
export async function heldFetches(
  { task, config, slaveEnvironment }: RequestRecord,
  fetches: readonly Fetch[],
  signal: AbortSignal,
): Promise<readonly Fetch[]> {
  const { policy } = config;
  const { volumes } = policy;
  if (volumes === undefined) return fetches;
  const home = slaveEnvironment.MESOS_FRAMEWORKS_HOME;
  const others = [task.sandbox, ...(home?.startsWith('/') ? [home] : [])];
  const paths = fetches.flatMap(({ source }) => (source.by === 'copy' ? [source.path] : []));
  const allowed = volumes.filter((path) => path.startsWith('/'));
  const resolved = await lookedUp([...paths, ...allowed, ...others], signal);
  return fetches.map((fetch) => {
    if (fetch.source.by !== 'copy') return fetch;
    const { path } = fetch.source;
    const why = judgePath(policy, path, others, resolved);
    if (why !== undefined) throw new Fault('refused', `uri ${fetch.shown}: ${why}`);
    return { ...fetch, source: { by: 'copy', path: resolved.get(path) ?? path } };
  });
}

async function lookedUp(paths: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
  const resolved = new Map<string, string>();
  for (const path of paths) resolved.set(path, await whereItLeads(path, signal));
  return resolved;
}
