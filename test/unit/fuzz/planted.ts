// A target with a fault that random bytes do not find in a lifetime of tests: each byte has to be right before the next one counts.

import type { Target } from '../../../fuzz/engine/target.ts';

export function target(): Target {
  return {
    dictionary: [],
    maxBytes: 8,
    make: (random) => random.bytes(8),
    run: (input) => {
      if (isLit(input)) throw new RangeError('the fuse is lit');
    },
  };
}

function isLit(input: Buffer): boolean {
  if (input[0] === 0x66) {
    if (input[1] === 0x75) {
      if (input[2] === 0x73) {
        return input[3] === 0x65;
      }
    }
  }
  return false;
}
