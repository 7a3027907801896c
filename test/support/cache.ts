// Where tests keep what takes long to make, for later runs. Outside of the tree, so that all checkouts share it; each entry
// is named for what it was made of, and put there whole.

export const TEST_CACHE = process.env.DEIMOS_TEST_CACHE ?? '/var/cache/deimos-test';
