// The operator's policy, applied: finds what container/policy.ts has to know beside the create request (what the
// operator's own options come to, where host paths lead), and refuses what it refuses. Nothing is done where the
// configuration has no rule.

import { isDeepStrictEqual } from 'node:util';
import type { Policy } from '../config/schema.ts';
import type { CreateRequest } from '../container/create-request.ts';
import type { TaskOptions } from '../container/options.ts';
import { isRestricting, judge, pathsToResolve } from '../container/policy.ts';
import type { Translation } from '../docker/translate.ts';
import { Fault } from '../fault.ts';
import { whereItLeads } from '../host/real-path.ts';

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
    const resolved = new Map<string, string>();
    for (const path of pathsToResolve({ ...terms, request }))
      resolved.set(path, await whereItLeads(path, signal));
    const answer = judge({ ...terms, request, resolved });
    if (!answer.ok) throw new Fault('refused', answer.why);
    return answer.request;
  };
}
