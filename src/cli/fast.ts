// The calls that a slave and flock(1) make, word for word, recognized without loading the command-line parser: they come
// once a second for each container. Whatever is not exactly one of these is left to commands.ts.

import type { Call, GlobalOptions } from '../commands/call.ts';

type Run = (call: Call) => Promise<number>;

const VERBS: Readonly<Record<string, Run>> = {
  launch: async (call) => (await import('../commands/launch.ts')).launch(call),
  wait: async (call) => (await import('../commands/wait.ts')).wait(call),
  usage: async (call) => (await import('../commands/usage.ts')).usage(call),
  update: async (call) => (await import('../commands/update.ts')).update(call),
  destroy: async (call) => (await import('../commands/destroy.ts')).destroy(call),
  containers: async (call) => (await import('../commands/containers.ts')).containers(call),
  recover: async (call) => (await import('../commands/recover.ts')).recover(call),
};

export interface FastCall {
  readonly options: GlobalOptions;
  readonly run: Run;
}

/** `[--config F] [--root R] VERB`, or a wait that flock(1) starts again; undefined for anything else. */
export function fastCall(argv: readonly string[]): FastCall | undefined {
  const options: { config?: string; root?: string } = {};
  let at = 0;
  for (; argv[at] === '--config' || argv[at] === '--root'; at += 2) {
    const value = argv[at + 1];
    const name = argv[at] === '--config' ? 'config' : 'root';
    if (value === undefined || options[name] !== undefined) return undefined;
    options[name] = value;
  }
  const [verb = '', ...rest] = argv.slice(at);
  if (rest.length === 0) {
    const run = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
    return run === undefined ? undefined : { options, run };
  }
  const [rootFlag, root, containerFlag, container, slaveFlag, slave] = rest;
  const woken = verb === 'wait' && rest.length === 6;
  if (!woken || rootFlag !== '--root' || containerFlag !== '--container' || slaveFlag !== '--slave')
    return undefined;
  if (root === undefined || container === undefined || slave === undefined) return undefined;
  return {
    options,
    run: async (call) => (await import('../commands/wait.ts')).wokenWait(call, { root, container, slave }),
  };
}
