// What a call of `usage` costs, beside a program that does nothing on the same runtime.

import { writeFile } from 'node:fs/promises';
import type { Host } from '../test/support/host.ts';
import { containerRecord } from '../test/support/installation.ts';
import { ratios } from './figures.ts';
import { inTurns, measured } from './measure.ts';
import { EMPTY, PATH } from './stage.ts';

/** The median of the CPU times' ratios, over so many pairs. */
export async function usageRatio(host: Host, containerId: string, rounds: number): Promise<number> {
  const stdin = host.directory.at('usage.record');
  await writeFile(stdin, containerRecord(containerId));
  const argv = [host.binary, '--config', host.configFile, 'usage'] as const;
  const env = { PATH };
  const { usage, empty } = await inTurns(rounds, {
    usage: async () => await measured({ argv, stdin, env }),
    empty: async () => await measured({ argv: [EMPTY], env }),
  });
  return ratios(
    usage.map(({ cpuMs }) => cpuMs),
    empty.map(({ cpuMs }) => cpuMs),
  ).median;
}
