// `deimos check`: what is wrong with this host, a line for each look at it. Each look is a process of its own: one that hangs, on
// a dead file server or a Docker that does not answer, is a finding like any other, and holds up no other.

import { escapeControl, oneLine } from '../fault.ts';
import { runBriefly } from '../host/brief.ts';
import { terminalOf } from '../terminal/screen.ts';
import { type Style, tableLines } from '../terminal/table.ts';
import { jsonText } from '../terminal/text.ts';
import type { Call } from './call.ts';
import { type Finding, failure, LEVELS, type Level, parseFinding } from './check/finding.ts';
import { LOOKS, look } from './check/looks.ts';

export interface CheckOptions {
  readonly json: boolean;
  /** This one alone, its finding as JSON: how the process of one look is called. */
  readonly look?: string;
}

/** Longer than any bound within a look. */
const LOOK_BOUND_MS = 20_000;
const LOOKS_AT_ONCE = 4;

const STYLES: Readonly<Record<Level, Style>> = { ok: 'good', warning: 'warning', failure: 'bad' };

/** Exit status 0 if all is well, 1 if there are warnings, 2 if something fails. Fault `usage` for a look that there is not. */
export async function check(
  call: Call,
  options: CheckOptions,
  write: (text: string) => void,
): Promise<number> {
  if (options.look !== undefined) {
    write(`${jsonText(await look(call, options.look))}\n`);
    return 0;
  }
  const found: { readonly look: string; readonly finding: Finding }[] = [];
  const left = [...LOOKS.keys()];
  const work = async (): Promise<void> => {
    for (let name = left.shift(); name !== undefined; name = left.shift())
      found.push({ look: name, finding: await findingOf(call, name) });
  };
  await Promise.all(Array.from({ length: LOOKS_AT_ONCE }, work));
  const order = [...LOOKS.keys()];
  found.sort((a, b) => order.indexOf(a.look) - order.indexOf(b.look));
  if (options.json) {
    const objects = found.map(({ look: name, finding }) => ({ look: name, ...finding }));
    write(`${jsonText(objects)}\n`);
  } else write(`${lines(call, found).join('\n')}\n`);
  return Math.max(...found.map(({ finding }) => LEVELS.indexOf(finding.level)));
}

function lines(
  call: Call,
  found: readonly { readonly look: string; readonly finding: Finding }[],
): readonly string[] {
  const { colours } = terminalOf(process.stdout, call.environment);
  const rows = found.map(({ look: name, finding: { level, text, todo } }) => [
    { text: level, style: STYLES[level] },
    { text: name },
    { text: escapeControl(todo === undefined ? text : `${text}: ${todo}`) },
  ]);
  const [, ...shown] = tableLines([{ title: '' }, { title: '' }, { title: '' }], rows, {
    width: undefined,
    colours,
    mark: '',
  });
  return shown;
}

async function findingOf(call: Call, name: string): Promise<Finding> {
  const { config, root } = call.options;
  const words = [
    ...(config === undefined ? [] : ['--config', config]),
    ...(root === undefined ? [] : ['--root', root]),
  ];
  const again = `see what \`deimos check --look ${name}\` says`;
  try {
    const end = await runBriefly(
      [call.executable, ...words, 'check', '--look', name],
      LOOK_BOUND_MS,
      call.environment,
    );
    if (end === undefined)
      return failure(
        `the look hangs after ${LOOK_BOUND_MS / 1000} s`,
        'see what holds it, with ps and /proc/PID/stack',
      );
    const finding = end.status === 0 ? parseFinding(JSON.parse(end.stdout)) : undefined;
    return finding ?? failure(`the look failed: ${oneLine(end.stderr.trim())}`, again);
  } catch (error) {
    return failure(`the look failed: ${oneLine(error)}`, again);
  }
}
