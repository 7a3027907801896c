// Generated output of containers: short lines, none at all, very long ones, binary, the same line for ever, open ends.

import fc from 'fast-check';

/** Streams of up to some 200 KB; about half of them repeat themselves in one way or another. */
export function streams(): fc.Arbitrary<Buffer> {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 6 });
  const line = fc.oneof(
    { weight: 6, arbitrary: letters.map((text) => `${text}\n`) },
    { weight: 3, arbitrary: fc.string({ maxLength: 200 }).map((text) => `${text}\n`) },
    { weight: 1, arbitrary: fc.integer({ min: 16_300, max: 16_500 }).map((n) => `${'x'.repeat(n)}\n`) },
    { weight: 1, arbitrary: fc.integer({ min: 30_000, max: 70_000 }).map((n) => `${'x'.repeat(n)}\n`) },
  );
  const lines = fc.array(line, { maxLength: 40 });
  const numbered = fc
    .tuple(fc.nat(100_000), fc.nat(600))
    .map(([from, count]) => Array.from({ length: count }, (_, n) => `line ${from + n}\n`));
  const same = fc
    .tuple(line, fc.integer({ min: 1, max: 60 }))
    .map(([text, times]) => Array(times).fill(text));
  const binary = fc
    .tuple(fc.nat(90_000), fc.integer({ min: 1, max: 255 }))
    .map(([count, step]) => [Buffer.alloc(count, Buffer.from([0, step, 255])).toString('latin1')]);
  const part = fc.oneof(
    lines,
    numbered,
    same,
    binary,
    letters.map((text) => [text]),
  );
  return fc
    .array(part, { minLength: 1, maxLength: 4 })
    .map((parts) => Buffer.from(parts.flat().join(''), 'latin1'));
}
