// Reads the project's own TypeScript for the rules beside this file: which files there are, what each imports, and
// its text without comments. It works on text, with expressions that know strings and comments but not the grammar;
// the type checker and the linter read the rest. It never runs what it reads.

import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, resolve } from 'node:path';

const projectRoot = resolve(import.meta.dirname, '../..');

export interface SourceFile {
  /** From the project's root: `src/host/log.ts`. */
  readonly path: string;
  readonly text: string;
}

export interface Import {
  /** As written. */
  readonly specifier: string;
  /** A project path for a relative specifier, else the specifier itself. */
  readonly target: string;
  /** `static` is loaded with the file, `lazy` where it is reached, `type` never. */
  readonly kind: 'static' | 'lazy' | 'type';
}

/** All files that match, by path. An empty answer is an error: a rule that looks at nothing holds nothing. */
export function readSources(...patterns: string[]): SourceFile[] {
  const paths = globSync(patterns, { cwd: projectRoot }).sort();
  if (paths.length === 0) throw new Error(`no file matches ${patterns.join(' ')}`);
  return paths.map((path) => ({ path, text: readFileSync(join(projectRoot, path), 'utf8') }));
}

// One alternative a token that may hide others: strings, comments, and regular expressions where one may begin.
const tokens =
  /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\[\s\S]|[^`\\])*`|\/\*[\s\S]*?\*\/|\/\/[^\n]*|(?<=[(,=:[!&|?{};\n>]\s*)\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\//g;

/** The text without comments; line breaks stay. */
export function withoutComments(text: string): string {
  return text.replace(tokens, (token) => (/^\/[/*]/.test(token) ? token.replace(/[^\n]/g, '') : token));
}

/** The text without comments and with every string, template and regular expression emptied to `_` (or to nothing if it was empty). */
export function codeOf(text: string): string {
  return text.replace(tokens, (token) => {
    if (/^\/[/*]/.test(token)) return token.replace(/[^\n]/g, '');
    const quote = token.charAt(0);
    return token.length === 2 ? token : `${quote}_${token.replace(/[^\n]/g, '')}${quote}`;
  });
}

/** What the file imports, re-exports included. A dynamic import in a type's place counts as `lazy`. */
export function importsOf({ path, text }: SourceFile): Import[] {
  const code = withoutComments(text);
  const found: Import[] = [];
  const add = (specifier: string, kind: Import['kind']) => {
    const target = specifier.startsWith('.') ? normalize(join(dirname(path), specifier)) : specifier;
    found.push({ specifier, target, kind });
  };
  const statement = /^[ \t]*(?:import|export)\b([^'"`;()=]*?\bfrom\s*|\s*)['"]([^'"\n]+)['"]/gm;
  for (const [, clause = '', specifier = ''] of code.matchAll(statement)) {
    add(specifier, /^\s*type\b(?!\s*(?:,|from\b))/.test(clause) ? 'type' : 'static');
  }
  for (const [, specifier = ''] of code.matchAll(/\bimport\s*\(\s*['"`]([^'"`\n]+)['"`]/g))
    add(specifier, 'lazy');
  for (const [, specifier = ''] of code.matchAll(/\brequire\s*\(\s*['"`]([^'"`\n]+)['"`]/g))
    add(specifier, 'static');
  return found;
}

/** The package of a bare specifier: `@scope/name/deep` → `@scope/name`. */
export function packageOf(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}
