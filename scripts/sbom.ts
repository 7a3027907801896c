// Prints the bill of materials of the packages, as CycloneDX: what is in the executable, and not what npm installs to build it.
// `npm sbom` tells the latter: it has what dockerode brings and the bundle leaves out, has not the runtime, which is most of it,
// and puts a time and a random number into each. It needs an executable that is built; the same one gives the same bytes.
//
//   node scripts/sbom.ts [--arch x64|arm64]
//
// SOURCE_DATE_EPOCH: the time that it says it is of, in seconds; without it, it says none.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type LockFile, readLockFile, resolveDependency } from './lock-files.ts';
import { bundledParts, installedPart, type Part, runtimePart } from './parts.ts';
import { type Architecture, isArchitecture, LOCKS, runtimeFor } from './runtimes.ts';

const root = resolve(import.meta.dirname, '..');

/** They write the executable: the one joins the modules, the other puts scripts and runtime together. */
const BUILT_BY = ['esbuild', '@yao-pkg/pkg'];
/** What the runtime calls a version and is none of something in it: numbers of interfaces, and of the data that ICU brings. */
const NO_COMPONENTS = ['node', 'modules', 'napi', 'cldr', 'tz', 'unicode'];
/** Where the runtime has a name of its own for something. */
const NAMES: Readonly<Record<string, string>> = { ares: 'c-ares', uv: 'libuv' };

export interface Component {
  readonly type: 'application' | 'platform' | 'library';
  readonly 'bom-ref': string;
  readonly group?: string;
  readonly name: string;
  readonly version: string;
  readonly description?: string;
  readonly scope?: 'required';
  readonly hashes?: readonly { readonly alg: 'SHA-256' | 'SHA-512'; readonly content: string }[];
  readonly licenses?: readonly (
    | { readonly license: { readonly id: string } }
    | { readonly expression: string }
  )[];
  readonly cpe?: string;
  readonly purl: string;
  readonly components?: readonly Component[];
}

export interface BillOfMaterials {
  readonly $schema: string;
  readonly bomFormat: 'CycloneDX';
  readonly specVersion: '1.6';
  readonly serialNumber: string;
  readonly version: 1;
  readonly metadata: {
    readonly timestamp?: string;
    readonly lifecycles: readonly { readonly phase: 'build' }[];
    readonly component: Component;
  };
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
  readonly formulation: readonly { readonly components: readonly Component[] }[];
}

export async function billOfMaterials(
  architecture: Architecture,
  atSeconds?: number,
): Promise<BillOfMaterials> {
  const lock = readLockFile('package-lock.json');
  const runtimeLock = readLockFile(LOCKS[architecture === 'x64' ? 0 : 1]);
  const runtime = runtimeComponent(architecture, runtimePart(architecture), runtimeLock);
  const parts = await bundledParts();
  const components = new Map(parts.map((part) => [part.path, npmComponent(part, lock)]));
  const application = ours(architecture);
  const refsOf = (path: string): readonly string[] =>
    Object.keys(lock.packages[path]?.dependencies ?? {})
      .flatMap((name) => components.get(resolveDependency(lock, path, name) ?? '')?.['bom-ref'] ?? [])
      .sort();
  const all = [runtime, ...components.values()];
  const body = {
    metadata: {
      ...(atSeconds === undefined
        ? {}
        : { timestamp: new Date(atSeconds * 1000).toISOString().replace('.000Z', 'Z') }),
      lifecycles: [{ phase: 'build' }],
      component: application,
    },
    components: all,
    dependencies: [
      { ref: application['bom-ref'], dependsOn: [runtime['bom-ref'], ...refsOf('')] },
      {
        ref: runtime['bom-ref'],
        dependsOn: (runtime.components ?? []).map((component) => component['bom-ref']),
      },
      ...[...components].map(([path, component]) => ({
        ref: component['bom-ref'],
        dependsOn: refsOf(path),
      })),
    ],
    formulation: [
      { components: BUILT_BY.map((name) => withoutScope(npmComponent(installedPart(name), lock))) },
    ],
  } as const;
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: `urn:uuid:${uuidOf(JSON.stringify(body))}`,
    version: 1,
    ...body,
  };
}

function ours(architecture: Architecture): Component {
  const about = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    readonly version: string;
    readonly description: string;
    readonly license: string;
  };
  const executable = join(root, architecture === 'x64' ? 'dist' : `dist/${architecture}`, 'deimos');
  const purl = `pkg:generic/deimos@${about.version}?arch=${architecture}`;
  return {
    type: 'application',
    'bom-ref': purl,
    name: 'deimos',
    version: about.version,
    description: about.description,
    hashes: [
      { alg: 'SHA-256', content: createHash('sha256').update(readFileSync(executable)).digest('hex') },
    ],
    licenses: [licenceOf(about.license)],
    purl,
  };
}

/** The runtime, with what it says to be made of. */
function runtimeComponent(architecture: Architecture, part: Part, lock: LockFile): Component {
  const [program, ...first] = runtimeFor(architecture).command;
  const said = execFileSync(program, [...first, '-p', 'JSON.stringify(process.versions)'], {
    encoding: 'utf8',
    env: {},
  });
  const versions = Object.entries(JSON.parse(said) as Readonly<Record<string, string>>);
  const components = versions
    .filter(([key, version]) => !NO_COMPONENTS.includes(key) && version !== '')
    .map(([key, version]): Component => {
      const name = NAMES[key] ?? key;
      const purl = `pkg:generic/${name}@${version}`;
      return { type: 'library', 'bom-ref': purl, name, version, scope: 'required', purl };
    });
  return {
    ...npmComponent(part, lock),
    type: 'platform',
    // By this name and number the runtime's vulnerabilities are known.
    cpe: `cpe:2.3:a:nodejs:node.js:${part.version}:*:*:*:*:*:*:*`,
    components: components.sort((a, b) => (a.name < b.name ? -1 : 1)),
  };
}

function npmComponent({ name, version, licence, path }: Part, lock: LockFile): Component {
  const [, group, own = name] = /^(@[^/]+)\/(.*)$/.exec(name) ?? [];
  const [, hash] = /^sha512-(\S+)$/.exec(lock.packages[path]?.integrity ?? '') ?? [];
  if (hash === undefined || lock.packages[path]?.version !== version)
    throw new Error(`${path} ${version} is not what the lock file has`);
  const purl = `pkg:npm/${group === undefined ? '' : `${encodeURIComponent(group)}/`}${own}@${version}`;
  return {
    type: 'library',
    'bom-ref': purl,
    ...(group === undefined ? {} : { group }),
    name: own,
    version,
    scope: 'required',
    hashes: [{ alg: 'SHA-512', content: Buffer.from(hash, 'base64').toString('hex') }],
    licenses: [licenceOf(licence)],
    purl,
  };
}

function withoutScope({ scope, ...component }: Component): Component {
  return component;
}

function licenceOf(name: string): { license: { id: string } } | { expression: string } {
  return /[ (]/.test(name) ? { expression: name } : { license: { id: name } };
}

/** Each bill has a number of its own, which depends on nothing but what it says (RFC 9562, version 8). */
function uuidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  const variant = ((Number.parseInt(hex.slice(16, 17), 16) & 3) | 8).toString(16);
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `${variant}${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join('-');
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { arch: { type: 'string', default: 'x64' } } });
  if (!isArchitecture(values.arch)) throw new Error(`--arch ${values.arch}: x64 or arm64`);
  const epoch = process.env.SOURCE_DATE_EPOCH;
  const bill = await billOfMaterials(values.arch, epoch === undefined ? undefined : Number(epoch));
  process.stdout.write(`${JSON.stringify(bill, null, 2)}\n`);
}
