// Builds dist/deimos, one executable without dependencies: src/main.ts → esbuild → scripts and their code caches → pkg in
// SEA mode, on a Node runtime of the npm packages (scripts/runtimes.ts). It downloads nothing, and the same commit and
// lock files give the same bytes. It does nothing while what is in dist/ is up to date.
//
//   scripts/build [--force] [--empty] [--arch x64|arm64] [--out <directory>]
//
// --force  builds even what is up to date
// --arch   arm64: builds dist/arm64/deimos, for such machines
// --out    builds there instead
// --empty  also builds dist/empty, a program that does nothing on the same runtime: what a start costs at least

import childProcess from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type BundleOptions, bundle, SCRIPTS, type ScriptName } from './bundle.ts';
import { isArchitecture, LOCKS, RUNTIME_ARGUMENTS, runtimeFor } from './runtimes.ts';
import { WORK_DIRECTORY, writeWarmup } from './warm-up.ts';

const root = resolve(import.meta.dirname, '..');
const { values } = parseArgs({
  options: {
    force: { type: 'boolean' },
    empty: { type: 'boolean' },
    arch: { type: 'string', default: 'x64' },
    out: { type: 'string' },
  },
});
const architecture = values.arch;
if (!isArchitecture(architecture)) throw new Error(`--arch ${architecture}: x64 or arm64`);
const dist = resolve(values.out ?? join(root, architecture === 'x64' ? 'dist' : `dist/${architecture}`));
const require = createRequire(import.meta.url);

const { file: runtimeFile, command: runtimeCommand } = runtimeFor(architecture);
const codeCache = join(root, 'scripts/code-cache.cjs');

/** Without a fixed seed V8's code cache differs from build to build. It counts at build time only. */
const buildSeed = '--random-seed=20140609';

/** The package's version and the commit, `-dirty` where what goes into the binary differs from it, `unknown` without git. */
function source(): BundleOptions {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const top = git('rev-parse', '--show-toplevel');
  // An unpacked archive may lie inside somebody else's repository.
  if (top === undefined || realpathSync(top) !== realpathSync(root)) return { version, commit: 'unknown' };
  const head = git('rev-parse', '--short=12', 'HEAD');
  if (head === undefined) return { version, commit: 'unknown' };
  const changed = git('status', '--porcelain', '--', ...inputPaths);
  return { version, commit: changed === '' ? head : `${head}-dirty` };
}

function git(...words: string[]): string | undefined {
  const run = childProcess.spawnSync('git', ['-c', `safe.directory=${root}`, '-C', root, ...words], {
    encoding: 'utf8',
  });
  return run.status === 0 ? run.stdout.trim() : undefined;
}

const inputPaths = [
  ...['src', 'package.json', ...LOCKS],
  ...['build.ts', 'bundle.ts', 'runtimes.ts', 'loader.cjs', 'code-cache.cjs', 'warm-up.ts', 'absent.cjs'].map(
    (name) => `scripts/${name}`,
  ),
];

function stampOf({ version, commit }: BundleOptions): string {
  const hash = createHash('sha256').update(`${version}\0${commit}\0`);
  const files = globSync(['src/**/*.ts', ...inputPaths.slice(1)], { cwd: root }).sort();
  for (const file of files) {
    hash
      .update(`${file}\0`)
      .update(readFileSync(join(root, file)))
      .update('\0');
  }
  return hash.digest('hex');
}

/** Writes what dist/deimos begins with, and gives its assets. */
async function prepare(options: BundleOptions, file: string): Promise<Readonly<Record<string, string>>> {
  const texts = await Promise.all(SCRIPTS.map(async (name) => ({ name, text: await bundle(name, options) })));
  const assets: Record<string, string> = {};
  for (const { name, text } of texts) {
    const [script, cache] = [join(dist, `${name}.js`), join(dist, `${name}.cache`)];
    writeFileSync(script, text);
    makeCache(name, script, cache);
    assets[`${name}.js`] = `${name}.js`;
    assets[`${name}.cache`] = `${name}.cache`;
  }
  copyFileSync(join(root, 'scripts/loader.cjs'), file);
  return assets;
}

function makeCache(name: ScriptName, script: string, cache: string): void {
  const make = [buildSeed, codeCache, 'make', script, cache];
  if (name === 'whole') {
    // The supervisor runs for weeks: what it needs is compiled when it needs it, and takes no memory before.
    runtime(make);
  } else {
    const host = mkdtempSync(join(realpathSync(tmpdir()), 'deimos-build-'));
    try {
      runtime([...make, JSON.stringify(writeWarmup(host, name))]);
    } finally {
      rmSync(host, { recursive: true });
    }
  }
  runtime([codeCache, 'check', script, cache]);
}

/** Runs the executable's runtime with the executable's arguments. */
function runtime(words: readonly string[]): void {
  const [program, ...first] = runtimeCommand;
  const run = childProcess.spawnSync(program, [...first, ...RUNTIME_ARGUMENTS, ...words], {
    encoding: 'utf8',
    cwd: '/',
    // As a slave calls it.
    env: { PATH: '/usr/bin:/bin', HOME: '/root', MESOS_WORK_DIRECTORY: WORK_DIRECTORY },
  });
  if (run.status !== 0) throw new Error(`${words.join(' ')}: ${run.error?.message ?? run.stderr}`);
}

type Pack = (entry: string, options: object) => Promise<void>;

/** pkg's SEA packer and the number of blobs that were made through it. */
interface Packer {
  readonly pack: Pack;
  readonly blobs: () => number;
}

function packer(): Packer {
  // pkg offers no way to say how the Node that makes the blob is run, or to give it an argument, and NODE_OPTIONS does not take
  // the seed: the one call of it is changed on its way. So this has to stand before pkg is loaded, and happen only once.
  const original = childProcess.execFile;
  const [program, ...first] = runtimeCommand;
  let calls = 0;
  type Done = (error: Error | null, out: { readonly stdout: string }) => void;
  const seeded = (file: string, words: string[], done: Done) => {
    const isBlob = words[0] === '--experimental-sea-config';
    // It asks a runtime of another architecture for its version, and would have the blob made by this process's, of the same.
    if (!isBlob && words[0] !== '--version') throw new Error(`pkg runs ${file} ${words.join(' ')}`);
    if (isBlob) calls++;
    const all = [...first, ...(isBlob ? [buildSeed] : []), ...words];
    return original(program, all, { cwd: dist }, (error, stdout) => done(error, { stdout }));
  };
  childProcess.execFile = seeded as unknown as typeof original;
  const { default: pack } = require('@yao-pkg/pkg/lib-es5/sea') as { default: Pack };
  return { pack, blobs: () => calls };
}

/** Joins dist/<name>.cjs and the runtime to dist/<name>, put in place by a rename: what runs, runs on. */
async function assemble(
  name: string,
  assets: Readonly<Record<string, string>>,
  { pack, blobs }: Packer,
): Promise<void> {
  const target = join(dist, name);
  const fresh = `${target}.new`;
  rmSync(fresh, { force: true });
  const before = blobs();
  const said = await quietly(() =>
    pack(`${target}.cjs`, {
      targets: [{ platform: 'linux', arch: architecture, nodeRange: 'node24', output: fresh }],
      nodePath: runtimeFile,
      seaConfig: {
        // Relative to dist/: an absolute path would be part of the executable and of every stack trace.
        main: `${name}.cjs`,
        assets,
        disableExperimentalSEAWarning: true,
        useSnapshot: false,
        useCodeCache: true,
        execArgv: RUNTIME_ARGUMENTS,
        // Neither NODE_OPTIONS nor an argument reaches the runtime: Deimos runs as root in a foreign environment.
        execArgvExtension: 'none',
      },
    }),
  );
  if (blobs() !== before + 1) {
    throw new Error(`pkg has made the blob in another way than expected; it said:\n${said}`);
  }
  chmodSync(fresh, 0o755);
  renameSync(fresh, target);
}

/** Runs `work` with what it prints held back, and shows that only if it fails. */
async function quietly(work: () => Promise<void>): Promise<string> {
  const streams = [process.stdout, process.stderr] as const;
  const writes = streams.map((stream) => stream.write);
  let said = '';
  const keep = (chunk: string | Uint8Array) => {
    said += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('utf8');
    return true;
  };
  for (const stream of streams) stream.write = keep as typeof stream.write;
  try {
    await work();
    return said;
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${said}`, { cause: error });
  } finally {
    streams.forEach((stream, index) => {
      const write = writes[index];
      if (write !== undefined) stream.write = write;
    });
  }
}

/** Whether <dist>/<name> was made from what `stamp` stands for. */
function isUpToDate(name: string, stamp: string): boolean {
  const stampFile = join(dist, `.${name}.stamp`);
  return existsSync(join(dist, name)) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp;
}

mkdirSync(dist, { recursive: true });
const from = source();
const products = [{ name: 'deimos', stamp: stampOf(from), write: (file: string) => prepare(from, file) }];
if (values.empty === true) {
  const stamp = createHash('sha256');
  for (const file of [...LOCKS, 'scripts/build.ts']) stamp.update(readFileSync(join(root, file)));
  const write = async (file: string) => {
    writeFileSync(file, '');
    return {};
  };
  products.push({ name: 'empty', stamp: stamp.digest('hex'), write });
}

const due = products.filter(({ name, stamp }) => values.force === true || !isUpToDate(name, stamp));
for (const product of products) {
  if (!due.includes(product)) console.log(`build: ${join(dist, product.name)} is up to date`);
}
if (due.length > 0) {
  // Loading it takes longer than everything else that a build with nothing to do does.
  const packing = packer();
  for (const { name, stamp, write } of due) {
    const started = performance.now();
    rmSync(join(dist, `.${name}.stamp`), { force: true });
    const assets = await write(join(dist, `${name}.cjs`));
    await assemble(name, assets, packing);
    writeFileSync(join(dist, `.${name}.stamp`), stamp);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(`build: ${join(dist, name)} made in ${seconds} s`);
  }
}
