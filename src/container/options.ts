// Which words of `docker run`'s language a task gets: its own or the operator's, and the raw argv behind `//`.
// Pure. It does not know what the options mean; the docker CLI does (docker/translate.ts). Only what the new form says
// in fields of its own is put into options here, and what of it cannot be is refused, never dropped in silence.

import type { Config } from '../config/schema.ts';
import type { NewContainer, PortRange, TaskRequest, Volume } from './task.ts';

export interface TaskOptions {
  /** Words for `docker run`, before the image. */
  readonly options: readonly string[];
  /** What stood behind `//`: the argv after the image as it is. Undefined: there was no `//`. */
  readonly argv?: readonly string[];
  /** How many of them, the last ones, are the operator's behind words that the task wrote itself. */
  readonly appended: number;
  /** Those of the words that are the operator's, as if they were all. */
  readonly operators: readonly string[];
  /** All but the options and volumes that the task asks for: the operator's, and where the task runs. */
  readonly granted: readonly string[];
  /** One line each, for the log. */
  readonly warnings: readonly string[];
}

export type OptionsAnswer =
  | ({ readonly ok: true } & TaskOptions)
  | { readonly ok: false; readonly why: string };

/** An option and its value in one word: a dash first, a blank right after the option's name. */
const TWO_IN_ONE = /^(--?[A-Za-z0-9][A-Za-z0-9-]*)[ \t]+(\S.*)$/s;

/**
 * `"-p 8090:8080"` → `-p`, `8090:8080`, as the original's users wrote them. A word is taken apart only if it begins
 * with a dash and has a blank right after the option's name, once, into two: `A=b c`, `--label=a=b c` and
 * `-ea=b c` stay whole. Quotes mean nothing here.
 */
export function splitWords(words: readonly string[]): readonly string[] {
  return words.flatMap((word) => {
    const match = TWO_IN_ONE.exec(word);
    return match?.[1] === undefined || match[2] === undefined ? [word] : [match[1], match[2]];
  });
}

/** At the first `//`, which is dropped. */
function splitAtSlashes(words: readonly string[]): readonly [string[], string[] | undefined] {
  const at = words.indexOf('//');
  // The raw argv comes from the words as they were sent: nothing in it is an option of docker.
  return at < 0
    ? [[...splitWords(words)], undefined]
    : [[...splitWords(words.slice(0, at))], words.slice(at + 1)];
}

/** The task's options, or the operator's default where it has none or they are to be ignored, then what is appended. */
export function taskOptions(task: TaskRequest, config: Config['options']): OptionsAnswer {
  const container = task.container;
  const fields =
    container?.form === 'new' ? fieldOptions(container, task.sandbox, task.resources.ports) : undefined;
  if (fields?.ok === false) return fields;
  const own = fields?.parameters ?? (container?.form === 'old' ? container.options : []);
  const volumes = fields?.volumes ?? [];
  const warnings =
    config.ignore && own.length + volumes.length > 0
      ? ['the options of the task are ignored, as configured']
      : [];
  const isOwn = own.length > 0 && !config.ignore;
  // Words of the new form are made here and are whole: a parameter's value may well look like two words.
  const [chosen, argv] =
    isOwn && fields !== undefined ? [own, undefined] : splitAtSlashes(isOwn ? own : config.default);
  const [appended, appendedArgv] = splitAtSlashes(config.append);
  const rest =
    argv === undefined && appendedArgv === undefined ? undefined : [...(argv ?? []), ...(appendedArgv ?? [])];
  // A later word goes before an earlier one: the fields stand behind the operator's default and before parameters.
  const place = fields?.place ?? [];
  const fieldWords = config.ignore ? place : [...place, ...volumes];
  const words = lastNetwork(isOwn ? [fieldWords, chosen, appended] : [chosen, fieldWords, appended]);
  const byDefault = isOwn ? [] : chosen;
  const nul = words.concat(rest ?? []).findIndex((word) => word.includes('\0'));
  // Not shown: it may be a variable with its value.
  if (nul >= 0) return { ok: false, why: `word ${nul + 1} of the options contains a NUL` };
  return {
    ok: true,
    options: words,
    ...(rest === undefined ? {} : { argv: rest }),
    appended: isOwn && fields === undefined ? appended.length : 0,
    operators: lastNetwork([byDefault, appended]),
    granted: lastNetwork([byDefault, place, appended]),
    warnings,
  };
}

const NETWORK = /^--net(work)?$/;
const NETWORK_IS = /^--net(work)?=/;

/**
 * All words, with the networks of the last that names any: a task has one, and the CLI would take it that each is to be
 * in all of them. A parameter `net` in place of the field was the way to a network of one's own before there was USER.
 */
function lastNetwork(sources: readonly (readonly string[])[]): string[] {
  const last = sources.findLastIndex((words) =>
    words.some((word) => NETWORK.test(word) || NETWORK_IS.test(word)),
  );
  return sources.flatMap((words, at) => (at >= last ? words : withoutNetworks(words)));
}

/** Read from the front, as the CLI does: what follows `--network` is its value, whatever it looks like. */
function withoutNetworks(words: readonly string[]): readonly string[] {
  let isValue = false;
  return words.filter((word) => {
    const isKept = !isValue && !NETWORK.test(word) && !NETWORK_IS.test(word);
    isValue = !isValue && NETWORK.test(word);
    return isKept;
  });
}

/** Where a task runs (network, ports, hostname) is not an option of its; what it may do and see of the host is. */
type Fields =
  | {
      readonly ok: true;
      /** Where it runs. */
      readonly place: readonly string[];
      readonly volumes: readonly string[];
      readonly parameters: readonly string[];
    }
  | { readonly ok: false; readonly why: string };

const refused = (why: string): { readonly ok: false; readonly why: string } => ({ ok: false, why });

/** The fields of a ContainerInfo as options, in the meaning that Mesos' own Docker containerizer gives them. */
function fieldOptions(container: NewContainer, sandbox: string, offered: readonly PortRange[]): Fields {
  if (container.type !== 'DOCKER')
    return refused(`a container of type ${container.type} is not run here, only DOCKER`);
  if (container.unusable !== undefined) return refused(container.unusable);
  const network = networkOption(container);
  if (!network.ok) return network;
  const place = [network.word];
  for (const { hostPort, containerPort, protocol } of container.portMappings) {
    if (container.network === 'HOST' || container.network === 'NONE') {
      return refused(`port mappings need network BRIDGE or USER, not ${container.network}`);
    }
    if (!offered.some(({ begin, end }) => begin <= hostPort && hostPort <= end)) {
      return refused(`host port ${hostPort} of a port mapping is not among the ports offered to the task`);
    }
    const kind = protocol?.toLowerCase() ?? 'tcp';
    if (!['tcp', 'udp', 'sctp'].includes(kind))
      return refused(`'${kind}' is not a protocol of a port mapping`);
    place.push(`--publish=${hostPort}:${containerPort}/${kind}`);
  }
  if (container.hostname !== undefined) {
    if (container.network === 'HOST') return refused('a hostname cannot be set on the network of the host');
    place.push(`--hostname=${container.hostname}`);
  }
  const parameters: string[] = container.privileged ? ['--privileged'] : [];
  if (container.volumeDriver !== undefined) parameters.push(`--volume-driver=${container.volumeDriver}`);
  for (const [key, value] of container.parameters) {
    if (!/^[A-Za-z0-9][A-Za-z0-9-]*$/.test(key))
      return refused(`'${key}' is not the name of a docker run option`);
    parameters.push(`--${key}=${value}`);
  }
  const volumes: string[] = [];
  for (const volume of container.volumes) {
    const option = volumeOption(volume, sandbox, container.volumeDriver);
    if (!option.ok) return option;
    volumes.push(option.word);
  }
  return { ok: true, place, volumes, parameters };
}

type Word = { readonly ok: true; readonly word: string } | { readonly ok: false; readonly why: string };

function networkOption(container: NewContainer): Word {
  if (container.network !== 'USER') return { ok: true, word: `--network=${container.network.toLowerCase()}` };
  if (!container.networkName) return refused('network USER needs the name of a network in network_infos');
  return { ok: true, word: `--network=${container.networkName}` };
}

function volumeOption(volume: Volume, sandbox: string, volumeDriver: string | undefined): Word {
  const { hostPath, dockerVolume } = volume;
  const target = volume.containerPath.startsWith('/')
    ? volume.containerPath
    : `/mnt/mesos/sandbox/${volume.containerPath}`;
  const readOnly = volume.mode === 'RO';
  if (dockerVolume !== undefined) {
    const { driver = volumeDriver, name, driverOptions } = dockerVolume;
    const fields = ['type=volume', `source=${name}`, `target=${target}`];
    if (driver !== undefined) fields.push(`volume-driver=${driver}`);
    for (const [key, value] of driverOptions) fields.push(`volume-opt=${key}=${value}`);
    return { ok: true, word: mountWord(fields, readOnly) };
  }
  if (hostPath === undefined) {
    if (target.includes(':')) return refused(`the container path ${target} of a volume contains a colon`);
    return { ok: true, word: `--volume=${target}` };
  }
  if (!hostPath.startsWith('/') && hostPath.split('/').includes('..'))
    return refused(`the host path ${hostPath} of a volume contains '..'`);
  // With a volume driver a word without a slash is a volume's name, not a path.
  const source = hostPath.startsWith('/') || volumeDriver !== undefined ? hostPath : `${sandbox}/${hostPath}`;
  if (!source.includes(':') && !target.includes(':')) {
    return { ok: true, word: `--volume=${source}:${target}:${readOnly ? 'ro' : 'rw'}` };
  }
  // A sandbox's path may have colons, which --volume takes for its own. This spelling wants the source to exist.
  return { ok: true, word: mountWord(['type=bind', `source=${source}`, `target=${target}`], readOnly) };
}

/** `--mount` is read as CSV: a field with a comma or a quote goes in quotes. */
function mountWord(fields: readonly string[], readOnly: boolean): string {
  const all = readOnly ? [...fields, 'readonly'] : fields;
  return `--mount=${all.map((field) => (/[",\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field)).join(',')}`;
}
