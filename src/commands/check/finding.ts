// What one look at a host comes to.

export const LEVELS = ['ok', 'warning', 'failure'] as const;

export type Level = (typeof LEVELS)[number];

export interface Finding {
  readonly level: Level;
  /** What is so, on one line. */
  readonly text: string;
  /** What to do about it; absent where all is well. */
  readonly todo?: string;
}

export function ok(text: string): Finding {
  return { level: 'ok', text };
}

export function warning(text: string, todo: string): Finding {
  return { level: 'warning', text, todo };
}

export function failure(text: string, todo: string): Finding {
  return { level: 'failure', text, todo };
}

/** The gravest of several, with the words of all that are no less grave than a warning; `well` where all is. */
export function together(well: string, findings: readonly Finding[]): Finding {
  const bad = findings.filter(({ level }) => level !== 'ok');
  if (bad.length === 0) return ok(well);
  const level = LEVELS[Math.max(...bad.map((one) => LEVELS.indexOf(one.level)))] ?? 'failure';
  return {
    level,
    text: bad.map(({ text }) => text).join('; '),
    todo: bad.flatMap(({ todo }) => todo ?? []).join('; '),
  };
}

/** Of JSON; undefined for anything else. */
export function parseFinding(value: unknown): Finding | undefined {
  if (typeof value !== 'object' || value === null || !('level' in value) || !('text' in value))
    return undefined;
  const level = LEVELS.find((one) => one === value.level);
  if (level === undefined || typeof value.text !== 'string') return undefined;
  const todo = 'todo' in value && typeof value.todo === 'string' ? { todo: value.todo } : {};
  return { level, text: value.text, ...todo };
}
