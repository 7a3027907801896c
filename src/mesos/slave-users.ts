// Which users of this host a slave may be: what a port or a connection belongs to is held against them.

/** Whether that user may be the slave. */
export type MayBeSlave = (uid: number) => boolean;

const ROOT = 0;

/** Root can do all that we can, and who has our own user can, too: nothing is gained by keeping anything from them. */
export function isRootOrUs(uid: number): boolean {
  return uid === ROOT || uid === process.geteuid?.();
}
