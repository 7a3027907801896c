// The operator's policy, applied: finds what container/policy.ts has to know beside the create request (what the
// operator's own options come to, where host paths lead), and refuses what it refuses. Nothing is done where the
// configuration has no rule.

import type { Policy } from '../config/schema.ts';
import type { CreateRequest } from '../container/create-request.ts';
import type { TaskOptions } from '../container/options.ts';
import { isRestricting, judge, pathsToResolve } from '../container/policy.ts';
import type { Translation } from '../docker/translate.ts';
import { Fault } from '../fault.ts';
import { whereItLeads } from '../host/real-path.ts';

export interface PolicyCheck {
  readonly policy: Policy;
  /** What Docker is to be asked for. */
  readonly request: CreateRequest;
  readonly sandbox: string;
  readonly options: TaskOptions;
  /** What the options come to; undefined where there are none. */
  readonly translation: Translation | undefined;
}

/**
 * The request as Docker may have it: the same, but that under a rule about volumes host paths stand without links in
 * them. Fault `refused` with the line that names the rule; and the Faults of `translate`, and of looking up paths.
 */
export async function heldAgainstPolicy(
  { policy, request, sandbox, options, translation }: PolicyCheck,
  translate: (words: readonly string[]) => Promise<Translation>,
  signal: AbortSignal,
): Promise<CreateRequest> {
  if (!isRestricting(policy)) return request;
  const known = (words: readonly string[]): Promise<Translation> =>
    translation !== undefined && String(words) === String(options.options)
      ? Promise.resolve(translation)
      : translate(words);
  const operator = options.operators.length === 0 ? undefined : await known(options.operators);
  const isAsking = translation !== undefined && String(options.granted) !== String(options.options);
  const input = {
    ...{ policy, request, sandbox },
    operator: operator?.request.body,
    words:
      policy.options !== undefined && isAsking
        ? { all: translation, granted: await known(options.granted) }
        : undefined,
  };
  const resolved = new Map<string, string>();
  for (const path of pathsToResolve(input)) resolved.set(path, await whereItLeads(path, signal));
  const answer = judge({ ...input, resolved });
  if (!answer.ok) throw new Fault('refused', answer.why);
  return answer.request;
}
