// What the executable runs, as scripts: one for each call of the slave's, with what that call needs and nothing else, and one
// with the whole program, for everything else. A call would otherwise pay for all of the supervisor: V8 takes a script's code
// cache as a whole. See scripts/loader.cjs for which of them is run.

import { relative, resolve } from 'node:path';
import { type BuildOptions, build, type Plugin } from 'esbuild';

const root = resolve(import.meta.dirname, '..');

/** The calls of a slave. */
export const CALLS = ['launch', 'wait', 'usage', 'update', 'destroy', 'containers', 'recover'] as const;
export const SCRIPTS = [...CALLS, 'whole'] as const;
export type ScriptName = (typeof SCRIPTS)[number];

const commandOf = (call: string): string => `src/commands/${call}.ts`;

/** Required by dockerode and docker-modem, never reached by Deimos; see absent.cjs. */
const ABSENT_PACKAGES = ['@grpc/grpc-js', '@grpc/proto-loader', 'protobufjs', 'ssh2', 'cpu-features'];

export interface BundleOptions {
  readonly version: string;
  readonly commit: string;
}

/** A script's text: a function that scripts/loader.cjs calls, ASCII. */
export async function bundle(script: ScriptName, options: BundleOptions): Promise<string> {
  const { outputFiles } = await build(settingsOf(script, options));
  return `(function (module, require) {\n${outputFiles[0]?.text}})`;
}

/** The directories of the packages of which something is in the executable, below the project's. */
export async function bundledPackages(): Promise<readonly string[]> {
  const settings = settingsOf('whole', { version: '', commit: '' });
  const { metafile } = await build({ ...settings, outfile: 'whole.js', metafile: true });
  const inputs = Object.values(metafile.outputs).flatMap(({ inputs }) => Object.entries(inputs));
  const directories = inputs.flatMap(([path, { bytesInOutput }]) =>
    bytesInOutput > 0 ? (/^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []) : [],
  );
  return [...new Set(directories)].sort();
}

function settingsOf(script: ScriptName, { version, commit }: BundleOptions): BuildOptions & { write: false } {
  const start = script === 'whole' ? 'start' : 'startCall';
  return {
    absWorkingDir: root,
    stdin: { contents: `export { ${start} as start } from './src/main.ts';`, resolveDir: root },
    bundle: true,
    write: false,
    platform: 'node',
    target: 'node24',
    format: 'cjs',
    // Not minified: with the code cache it starts no faster, and a stack trace can be read.
    minify: false,
    charset: 'ascii',
    legalComments: 'none',
    // An executable cannot load files; with require a part that is loaded late costs nothing until then.
    supported: { 'dynamic-import': false },
    alias: Object.fromEntries(ABSENT_PACKAGES.map((name) => [name, './scripts/absent.cjs'])),
    define: { DEIMOS_VERSION: JSON.stringify(version), DEIMOS_COMMIT: JSON.stringify(commit) },
    logLevel: 'warning',
    plugins: script === 'whole' ? [] : [without(CALLS.filter((call) => call !== script).map(commandOf))],
  };
}

/** Leaves out modules that are loaded late, and in this script never. */
function without(names: readonly string[]): Plugin {
  return {
    name: 'without',
    setup(context) {
      context.onResolve({ filter: /^\.\.?\// }, ({ kind, path, resolveDir }) => {
        const name = relative(root, resolve(resolveDir, path));
        return kind === 'dynamic-import' && names.includes(name)
          ? { path: name, namespace: 'absent' }
          : undefined;
      });
      context.onLoad({ filter: /.*/, namespace: 'absent' }, ({ path }) => ({
        contents: `throw new Error(${JSON.stringify(`${path} is not of this script`)});`,
      }));
    },
  };
}
