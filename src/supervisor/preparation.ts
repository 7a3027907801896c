// Everything between a task and a create request: which image, that it is there, what the options mean, and the plan.
// URIs are looked at here and fetched elsewhere (uris.ts).
// Nothing here changes the container or its state; it can be called off at any time and done again.

import type { CreateRequest } from '../container/create-request.ts';
import { chooseImage } from '../container/image.ts';
import { taskOptions } from '../container/options.ts';
import { plan } from '../container/plan.ts';
import { judgeImage } from '../container/policy.ts';
import type { RegistryLogin } from '../container/registry-login.ts';
import type { Engine, EngineImageFacts } from '../docker/engine.ts';
import { mayPass } from '../docker/faults.ts';
import { type Translation, translateOptions } from '../docker/translate.ts';
import { Fault } from '../fault.ts';
import type { Log } from '../host/log.ts';
import { readOsRelease } from '../host/os-release.ts';
import { persist } from '../host/pauses.ts';
import { lookUpUser } from '../host/users.ts';
import type { RequestRecord } from '../state/records.ts';
import type { Daemon } from './docker-host.ts';
import { heldFetches, policyCheck } from './policy-check.ts';
import { type LoginSource, pullForTask } from './task-pull.ts';
import { urisOf } from './uris.ts';

export interface Preparation {
  readonly request: RequestRecord;
  /** The state root's real path: it is in the container's labels. */
  readonly root: string;
  /** Where the container is to be created. */
  readonly daemon: Daemon;
  readonly log: Log;
}

export interface PreparationOptions {
  readonly signal: AbortSignal;
  /** How far a pull is, in words. */
  readonly onProgress: (text: string) => void;
  /** How long a daemon that is away is waited for. */
  readonly awayBoundMs: number;
  /** The task's own login, looked for only when the image has to be pulled. Absent: the operator's is all there is. */
  readonly login?: LoginSource;
}

/** The create request of a task. Throws a Fault whose text is the one line that everybody is told. */
export async function prepare(
  { request, root, daemon, log }: Preparation,
  { signal, onProgress, awayBoundMs, login: source }: PreparationOptions,
): Promise<CreateRequest> {
  const { task, config, slaveEnvironment } = request;
  // First: of a container that cannot be run at all the image is not what is wrong.
  const options = taskOptions(task, config.options);
  if (!options.ok) throw new Fault('refused', options.why);
  const image = chooseImage(task, config, slaveEnvironment, readOsRelease());
  if (!image.ok) throw new Fault('refused', image.why);
  const unwanted = judgeImage(config.policy, image.image);
  if (unwanted !== undefined) throw new Fault('refused', unwanted);
  const uris = urisOf(request);
  if (!uris.ok) throw new Fault('refused', uris.why);
  await heldFetches(request, uris.fetches, signal);

  const ask = <T>(what: string, work: (engine: Engine) => Promise<T>): Promise<T> =>
    persist(() => work(daemon.engine), {
      signal,
      log,
      what,
      mayPass,
      boundMs: awayBoundMs,
    });

  const name = config.containers.switchUser ? (task.command.user ?? task.user) : undefined;
  const user = name === undefined ? undefined : await lookUpUser(name, signal);

  const translate = (words: readonly string[], appended = 0): Promise<Translation> =>
    ask('translating the options', (engine) =>
      translateOptions(words, image.image, engine, signal, undefined, appended),
    );
  const translation =
    options.options.length === 0 ? undefined : await translate(options.options, options.appended);
  const check = await policyCheck(
    { policy: config.policy, sandbox: task.sandbox, options, translation },
    translate,
  );
  // Before anything is pulled for it; what is decided on is the request that is made of it in the end.
  if (translation !== undefined) await check(translation.request, signal);
  const look = (): Promise<EngineImageFacts | 'absent'> =>
    ask('inspecting the image', (engine) => engine.imageFacts(image.image, signal));
  const always =
    translation?.pull === 'always' || (task.container?.form === 'new' && task.container.forcePull);
  let facts = always ? 'absent' : await look();
  if (facts === 'absent') {
    if (translation?.pull === 'never') {
      throw new Fault('refused', `the image ${image.image} is not here, and the options say --pull never`);
    }
    const wanted = { image: image.image, platform: translation?.request.query.platform };
    const pull = async (login: RegistryLogin | undefined): Promise<void> => {
      onProgress(`Pulling ${image.image}`);
      await ask('pulling the image', () => daemon.pulls.pull({ ...wanted, login }, onProgress, signal));
    };
    await pullForTask(image.image, pull, source);
    facts = await look();
  }
  if (facts === 'absent')
    throw new Fault('docker', `the image ${image.image} is not there though it was just pulled`);

  const planned = plan({
    task,
    config: { ...config, state: { ...config.state, root } },
    image: image.image,
    options,
    ...(translation === undefined ? {} : { translated: translation.request }),
    imageFacts: facts,
    slaveEnvironment,
    ...(request.bootId === undefined ? {} : { bootId: request.bootId }),
    ...(user === undefined ? {} : { user }),
  });
  if (!planned.ok) throw new Fault('refused', planned.why);
  for (const warning of planned.warnings) log.warning('plan', { warning });
  return await check(planned.request, signal);
}
