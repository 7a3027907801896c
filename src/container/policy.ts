// What the operator allows tasks to have: held against the create request that goes to Docker, whatever words it was made
// of. What the operator's own options ask for is allowed. Pure: host paths are looked up by the caller.
// What a rule does not know is refused by it; each refusal is one line that names the rule.

import type { Policy } from '../config/schema.ts';
import { escapeControl } from '../fault.ts';
import type { CreateBody, CreateRequest, HostConfig, Json, Mount } from './create-request.ts';
import { isImageAllowed } from './policy-images.ts';
import { saidBeyond, type Translated } from './policy-options.ts';

export interface PolicyInput {
  readonly policy: Policy;
  /** What Docker is to be asked for. */
  readonly request: CreateRequest;
  /** What the CLI makes of the operator's own options; undefined where none of them are in the request. */
  readonly operator: CreateBody | undefined;
  /**
   * For the rule about options: what the CLI makes of all words, and of those without the task's options and volumes;
   * undefined where the task has none.
   */
  readonly words: { readonly all: Translated; readonly granted: Translated } | undefined;
  /** The task's own directory: what lies below it may be mounted. */
  readonly sandbox: string;
  /** Where each path of `pathsToResolve` leads, links followed. */
  readonly resolved: ReadonlyMap<string, string>;
}

/** The request with each mount's source as it was looked at: a link that is changed behind the look changes nothing. */
export type PolicyAnswer =
  | { readonly ok: true; readonly request: CreateRequest }
  | { readonly ok: false; readonly why: string };

/** How much of a foreign text or of a list a refusal shows, in characters. */
const SHOWN_CHARS = 200;
const DRIVER = 'driver:';
/** What a container may have of these without being closer to the host than by default. */
const OWN_NAMESPACE: readonly string[] = ['', 'private', 'none', 'shareable', 'default'];
const HARMLESS_SECURITY =
  /^(?:no-new-privileges(?:[:=]true)?|seccomp[:=]builtin|apparmor[:=]docker-default)$/;

/** Whether there is anything to hold a request against. */
export function isRestricting(policy: Policy): boolean {
  return (
    Object.values(policy).includes(false) ||
    [policy.capabilities, policy.volumes, policy.images, policy.options].some((list) => list !== undefined)
  );
}

/** The rule about images by itself, before one is pulled. */
export function judgeImage(policy: Policy, image: string): string | undefined {
  if (policy.images === undefined || isImageAllowed(image, policy.images)) return undefined;
  return refusal(`image ${shown(image)}`, 'images', policy.images);
}

/**
 * The rule about volumes for one path of the host, which may lie at or below `others` as well; all of them as `resolved`
 * knows them.
 */
export function judgePath(
  { volumes: allowed }: Policy,
  source: string,
  others: readonly string[],
  resolved: ReadonlyMap<string, string>,
): string | undefined {
  if (allowed === undefined) return undefined;
  const roots = [...allowed.filter(isPath), ...others].map((path) => resolved.get(path) ?? path);
  const real = resolved.get(source) ?? source;
  if (roots.some((root) => isAtOrBelow(real, root))) return undefined;
  const which = real === source ? '' : `, which is ${shown(real)}`;
  return refusal(`host path ${shown(source)}${which}`, 'volumes', allowed);
}

/** Paths of the host that have to be looked up before `judge`; none where no rule is about them. */
export function pathsToResolve({
  policy,
  request,
  sandbox,
}: Omit<PolicyInput, 'resolved'>): readonly string[] {
  if (policy.volumes === undefined) return [];
  const { Binds, Mounts } = request.body.HostConfig ?? {};
  const sources = [...(Binds ?? []).map(sourceOf), ...(Mounts ?? []).map(({ Source }) => Source ?? '')];
  return [...new Set([...sources, ...policy.volumes, sandbox])].filter(isPath);
}

export function judge(input: PolicyInput): PolicyAnswer {
  const { policy, request } = input;
  const host = asked(request.body.HostConfig ?? {}, input.operator?.HostConfig ?? {});
  const why =
    images(policy, request.body.Image, host) ??
    privileged(policy, host) ??
    capabilities(policy, host) ??
    namespaces(policy, host) ??
    devices(policy, host) ??
    volumes(input, host) ??
    options(input);
  if (why !== undefined) return { ok: false, why };
  return { ok: true, request: policy.volumes === undefined ? request : pinned(request, input.resolved) };
}

/** Without what the operator's own options say: keys of the same value, and elements of lists. */
function asked(host: HostConfig, own: HostConfig): HostConfig {
  const beyond = Object.entries(host).flatMap(([key, value]): [string, Json][] => {
    const theirs = own[key];
    if (value === undefined || same(value, theirs)) return [];
    if (!Array.isArray(value) || !Array.isArray(theirs)) return [[key, value]];
    return [[key, value.filter((one) => !theirs.some((other) => same(one, other)))]];
  });
  return Object.fromEntries(beyond);
}

/** Both are of the same CLI, which writes keys in one order. */
function same(a: Json, b: Json | undefined): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function images(policy: Policy, image: string, host: HostConfig): string | undefined {
  const mounted = (host.Mounts ?? []).filter(({ Type }) => Type === 'image');
  return first([image, ...mounted.map(({ Source }) => Source ?? '')], (one) => judgeImage(policy, one));
}

function privileged(policy: Policy, host: HostConfig): string | undefined {
  if (policy.privileged) return undefined;
  const no = (what: string): string => refusal(what, 'privileged', false);
  if (isSet(host.Privileged)) return no('--privileged');
  // Each takes a part of what holds a container.
  const security = texts(host.SecurityOpt).find((one) => !HARMLESS_SECURITY.test(one));
  if (security !== undefined)
    return no(`--security-opt ${shown(security.replace(/^(seccomp[:=]).*$/s, '$1…'))}`);
  if (isGiven(host.MaskedPaths) || isGiven(host.ReadonlyPaths)) return no('--security-opt systempaths');
  const users = text(host.UsernsMode);
  return OWN_NAMESPACE.includes(users) ? undefined : no(`--userns ${shown(users)}`);
}

function capabilities({ capabilities: allowed }: Policy, host: HostConfig): string | undefined {
  if (allowed === undefined || allowed.includes('ALL')) return undefined;
  if (isSet(host.Privileged))
    return refusal('--privileged, which is every capability', 'capabilities', allowed);
  const other = texts(host.CapAdd)
    .map((name) => name.toUpperCase().replace(/^CAP_/, ''))
    .find((name) => !allowed.includes(name));
  return other === undefined ? undefined : refusal(`capability ${shown(other)}`, 'capabilities', allowed);
}

function namespaces(policy: Policy, host: HostConfig): string | undefined {
  const network = text(host.NetworkMode);
  if (!policy.hostNetwork && (network === 'host' || network.startsWith('container:')))
    return refusal(`network ${shown(network)}`, 'host_network', false);
  const kinds = [
    ['pid', text(host.PidMode), policy.hostPid],
    ['ipc', text(host.IpcMode), policy.hostIpc],
    ['uts', text(host.UTSMode), policy.hostUts],
  ] as const;
  for (const [kind, mode, isAllowed] of kinds) {
    // Another container's may be the host's.
    if (!isAllowed && !OWN_NAMESPACE.includes(mode))
      return refusal(`--${kind} ${shown(mode)}`, `host_${kind}`, false);
  }
  return undefined;
}

function devices(policy: Policy, host: HostConfig): string | undefined {
  if (policy.devices) return undefined;
  const no = (what: string): string => refusal(what, 'devices', false);
  if (isSet(host.Privileged)) return no('--privileged, which is every device');
  if (isSet(host.Devices)) return no('--device');
  if (isSet(host.DeviceCgroupRules)) return no('--device-cgroup-rule');
  return isSet(host.DeviceRequests) ? no('--gpus or a device of a driver') : undefined;
}

function volumes({ policy, resolved, sandbox }: PolicyInput, host: HostConfig): string | undefined {
  const { volumes: allowed } = policy;
  if (allowed === undefined) return undefined;
  const no = (what: string): string => refusal(what, 'volumes', allowed);
  const path = (source: string): string | undefined => judgePath(policy, source, [sandbox], resolved);
  const bind = (source: string): string | undefined => {
    // Written into the bind, it would be taken apart at another place.
    const isAmbiguous = resolved.get(source)?.includes(':') === true;
    return (
      path(source) ??
      (isAmbiguous ? no(`host path ${shown(source)}, which has a colon behind its links`) : undefined)
    );
  };
  const driver = (name: string): string | undefined =>
    ['', 'local'].includes(name) || allowed.includes(`${DRIVER}${name}`)
      ? undefined
      : no(`volume driver ${shown(name)}`);
  const mount = ({ Type, Source = '', VolumeOptions }: Mount): string | undefined => {
    switch (Type) {
      case 'tmpfs':
        return undefined;
      case 'bind':
        return path(Source);
      case 'image':
        return undefined;
      case 'volume': {
        const config = isRecord(VolumeOptions) ? VolumeOptions.DriverConfig : undefined;
        if (!isRecord(config)) return undefined;
        // By such options a local volume is a directory of the host, or of another one.
        if (isSet(config.Options) && ['', 'local'].includes(text(config.Name)))
          return no('volume-opt of a local volume');
        return driver(text(config.Name));
      }
      default:
        return no(`a mount of type ${shown(Type)}`);
    }
  };
  const isOther = isSet(host.VolumesFrom) ? no("--volumes-from, which is another container's") : undefined;
  return (
    isOther ??
    driver(text(host.VolumeDriver)) ??
    first((host.Binds ?? []).map(sourceOf).filter(isPath), bind) ??
    first(host.Mounts ?? [], mount)
  );
}

function options({ policy: { options: allowed }, words }: PolicyInput): string | undefined {
  if (allowed === undefined || words === undefined) return undefined;
  const other = saidBeyond(words.all, words.granted).find(
    ({ key, options: names }) => !allowed.includes(key) && !names.some((name) => allowed.includes(name)),
  );
  if (other === undefined) return undefined;
  const name = other.options[0];
  return refusal(
    name === undefined ? `what sets ${shown(other.key)}` : `option --${name}`,
    'options',
    allowed,
  );
}

/** Each source that is a path as the path that it led to. */
function pinned(request: CreateRequest, resolved: ReadonlyMap<string, string>): CreateRequest {
  const host = request.body.HostConfig ?? {};
  const Binds = host.Binds?.map((bind) => {
    const source = sourceOf(bind);
    return `${resolved.get(source) ?? source}${bind.slice(source.length)}`;
  });
  const Mounts = host.Mounts?.map((mount) => {
    const real = mount.Type === 'bind' ? resolved.get(mount.Source ?? '') : undefined;
    return real === undefined ? mount : { ...mount, Source: real };
  });
  const HostConfig = { ...host, ...(Binds ? { Binds } : {}), ...(Mounts ? { Mounts } : {}) };
  return { ...request, body: { ...request.body, HostConfig } };
}

/** `source:target[:mode]`: a path of the host, or a volume's name. */
function sourceOf(bind: string): string {
  return bind.split(':')[0] ?? '';
}

function isPath(text: string): boolean {
  return text.startsWith('/');
}

function isAtOrBelow(path: string, root: string): boolean {
  return path === root || path.startsWith(root.endsWith('/') ? root : `${root}/`);
}

function first<T>(items: readonly T[], look: (item: T) => string | undefined): string | undefined {
  for (const item of items) {
    const found = look(item);
    if (found !== undefined) return found;
  }
  return undefined;
}

function isRecord(value: Json | undefined): value is { readonly [key: string]: Json | undefined } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Docker takes none of these for said. */
function isSet(value: Json | undefined): boolean {
  if (value === undefined || value === null || value === false || value === '' || value === 0) return false;
  return typeof value !== 'object' || Object.keys(value).length > 0;
}

/** An empty list is another than none. */
function isGiven(value: Json | undefined): boolean {
  return value !== undefined && value !== null;
}

function text(value: Json | undefined): string {
  return typeof value === 'string' ? value : '';
}

function texts(value: Json | undefined): readonly string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

function shown(words: string): string {
  return escapeControl(words.length > SHOWN_CHARS ? `${words.slice(0, SHOWN_CHARS)}…` : words);
}

function refusal(what: string, rule: string, value: false | readonly string[]): string {
  const says = value === false ? 'false' : value.length === 0 ? 'none' : shown(value.join(', '));
  return `not allowed on this host: ${what} ([policy] ${rule}: ${says})`;
}
