// Which points a scenario has, as a run of it showed them, and how to name one so that it can be tried again by itself.

import type { Point, Ran, RequestFault } from './crash-run.ts';
import { ENOSPC, EROFS } from './steps.ts';

/** Long enough for several tries to fail, and over within a run. */
const FAILS_FOR_MS = 1_500;
const REQUEST_FAULTS: readonly RequestFault[] = ['refuse', 'lose-answer', 'delay', 'garbage', 'status-500'];

/** One at which one process meets one thing. */
export type SinglePoint = Exclude<Point, { readonly kind: 'twice' }>;

/** Every point that a run had: kills at each step and at each request, then faults at each. */
export function pointsOf({ steps, requests }: Pick<Ran, 'steps' | 'requests'>): readonly SinglePoint[] {
  const numbers = steps.map(({ number }) => number);
  const asked = requests.map((_, n) => n + 1);
  return [
    ...numbers.map((at): SinglePoint => ({ kind: 'step', fault: { at, kill: true } })),
    ...asked.flatMap((number): SinglePoint[] => [
      { kind: 'request', number, when: 'before' },
      { kind: 'request', number, when: 'after' },
    ]),
    ...[ENOSPC, EROFS].flatMap((errno) =>
      numbers.map((at): SinglePoint => ({ kind: 'step', fault: { at, errno, forMs: FAILS_FOR_MS } })),
    ),
    ...asked.flatMap((number) =>
      REQUEST_FAULTS.map((fault): SinglePoint => ({ kind: 'fault', number, fault })),
    ),
  ];
}

/** Where in the run that showed it a point lay: its number by how many there were. */
export function placeIn({ steps, requests }: Pick<Ran, 'steps' | 'requests'>, point: SinglePoint): number {
  return point.kind === 'step' ? point.fault.at / steps.length : point.number / requests.length;
}

/** `kill@step 12`, `kill@step 12, then kill@step 3`, `no space@step 12`, `kill@request 3 after`, `garbage@request 3`. */
export function nameOf(point: Point): string {
  switch (point.kind) {
    case 'step': {
      const { fault } = point;
      const what = 'kill' in fault ? 'kill' : fault.errno === ENOSPC ? 'no space' : 'read-only';
      return `${what}@step ${fault.at}`;
    }
    case 'request':
      return `kill@request ${point.number} ${point.when}`;
    case 'fault':
      return `${point.fault}@request ${point.number}`;
    case 'twice':
      return `kill@step ${point.first}, then kill@step ${point.second ?? 0}`;
  }
}

/** The kind of a point: its name without the numbers. */
export function kindOf(point: Point): string {
  return point.kind === 'twice' ? 'kill@step twice' : nameOf(point).replace(/ \d+/g, '');
}

/** The point of a name; undefined for what is none. */
export function pointNamed(name: string): Point | undefined {
  const [, first, second] = /^kill@step (\d+), then kill@step (\d+)$/.exec(name) ?? [];
  if (second !== undefined) return { kind: 'twice', first: Number(first), second: Number(second) };
  const number = Number(/\d+/.exec(name)?.[0]);
  const some = Array.from({ length: number }, (_, n) => ({
    number: n + 1,
    call: '',
    path: '',
    failed: false,
  }));
  const requests = some.map(({ number }) => ({ number, route: '', isOver: false }));
  return pointsOf({ steps: some, requests }).find((point) => nameOf(point) === name);
}
