// A target that never comes back from one input of many: what is looked after from outside.

import type { Target } from '../../../fuzz/engine/target.ts';

export function target(): Target {
  return {
    dictionary: [],
    maxBytes: 4,
    make: (random) => Buffer.of(random.below(64)),
    run: (input) => {
      while (input[0] === 63);
    },
  };
}
