// Which part of src/ may import which. Each rule takes files and answers with what breaks it, a line each, so that
// the tests can also show that it finds a breach.

import { codeOf, importsOf, packageOf, type SourceFile } from './source.ts';

/** Part → what it may import besides itself and src/fault.ts. Types count as well as values. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  main: ['cli', 'commands', 'supervisor', 'container', 'config', 'state', 'docker', 'mesos', 'host'],
  cli: ['commands', 'supervisor', 'container', 'config', 'state', 'docker', 'mesos', 'host'],
  commands: ['supervisor', 'terminal', 'container', 'config', 'state', 'docker', 'mesos', 'host'],
  supervisor: ['container', 'config', 'state', 'docker', 'mesos', 'host'],
  config: ['container', 'host'],
  state: ['container', 'config', 'host'],
  docker: ['container', 'config', 'host'],
  mesos: ['container', 'config', 'host'],
  // More about this one below.
  container: ['config', 'state', 'docker', 'mesos', 'host'],
  terminal: [],
  host: [],
  fault: [],
};

/** The verbs that the supervisor's own start and the plan belong to; all others only speak with it. */
const mayReachIntoSupervisor = ['src/commands/supervise.ts', 'src/commands/plan.ts'];

/** What a slave calls for each container, some of it every second. Starting them loads src/main.ts too. */
const hotFiles = ['usage', 'wait', 'launch', 'containers'].map((verb) => `src/commands/${verb}.ts`);
const tooSlowForHotFiles = ['dockerode', 'cac', 'ini'];

/** `src/host/log.ts` → `host`; `src/main.ts` → `main`; undefined outside src/. */
function partOf(path: string): string | undefined {
  return /^src\/(?:([^/]+)\/.+|([^/]+)\.ts)$/
    .exec(path)
    ?.slice(1)
    .find((name) => name !== undefined);
}

export function importDirection(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => {
    const from = partOf(file.path);
    if (from === undefined) return [`${file.path}: lies outside src/`];
    const allowed = mayImport[from];
    if (allowed === undefined) return [`${file.path}: '${from}' is not a part of the design`];
    return importsOf(file).flatMap(({ specifier, target }) => {
      if (!specifier.startsWith('.')) return [];
      const to = partOf(target);
      if (to === from || to === 'fault' || (to !== undefined && allowed.includes(to))) return [];
      return [`${file.path}: ${from} must not import ${target}`];
    });
  });
}

export function supervisorOnlyThroughClient(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => {
    const from = partOf(file.path);
    if ((from !== 'commands' && from !== 'cli') || mayReachIntoSupervisor.includes(file.path)) return [];
    return importsOf(file)
      .filter(({ target }) => partOf(target) === 'supervisor' && target !== 'src/supervisor/client.ts')
      .map(({ target }) => `${file.path}: reaches into the supervisor through ${target}`);
  });
}

export function containerIsPure(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => {
    if (partOf(file.path) !== 'container') return [];
    const imports = importsOf(file).flatMap(({ specifier, target, kind }) => {
      if (specifier.startsWith('node:')) return [`${file.path}: imports ${specifier}`];
      const near = partOf(target) === 'container' || partOf(target) === 'fault';
      return near || kind === 'type' ? [] : [`${file.path}: imports more than types of ${target}`];
    });
    const impure =
      /(?<![.\w])(?:process|console|performance|globalThis|setTimeout|setInterval|setImmediate|queueMicrotask|fetch)\b(?!\??:)|\bDate\.now\b|\bnew Date\(\s*\)|\bMath\.random\b|\bcrypto\./g;
    const uses = [...codeOf(file.text).matchAll(impure)].map(([word]) => `${file.path}: uses ${word}`);
    return [...imports, ...uses];
  });
}

/** Follows static imports from each hot file; the way to the package is part of the answer. */
export function hotFilesAreLight(files: readonly SourceFile[]): string[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const breaches: string[] = [];
  for (const start of [...hotFiles, 'src/main.ts']) {
    const seen = new Set<string>();
    const visit = (path: string, way: readonly string[]) => {
      const file = byPath.get(path);
      if (file === undefined || seen.has(path)) return;
      seen.add(path);
      for (const { target, kind } of importsOf(file)) {
        if (kind !== 'static') continue;
        if (tooSlowForHotFiles.includes(packageOf(target))) breaches.push([...way, path, target].join(' → '));
        else visit(target, [...way, path]);
      }
    };
    visit(start, []);
  }
  return breaches;
}

/** Relative imports that lead nowhere, and hot files that are gone: either would make the rules above blind. */
export function nothingIsMissing(files: readonly SourceFile[]): string[] {
  const paths = new Set(files.map(({ path }) => path));
  const dangling = files.flatMap((file) =>
    importsOf(file)
      .filter(({ specifier, target }) => specifier.startsWith('.') && !paths.has(target))
      .map(({ specifier }) => `${file.path}: ${specifier} does not exist`),
  );
  return [
    ...dangling,
    ...hotFiles.filter((path) => !paths.has(path)).map((path) => `${path}: does not exist`),
  ];
}

export function onlyMainEndsTheProcess(files: readonly SourceFile[]): string[] {
  return files
    .filter(({ path }) => path !== 'src/main.ts')
    .flatMap(({ path, text }) =>
      [...codeOf(text).matchAll(/\bprocess\s*\.\s*(?:exit|exitCode|abort|reallyExit)\b/g)].map(
        ([word]) => `${path}: uses ${word}`,
      ),
    );
}
