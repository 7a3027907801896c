// How large the executable is, and what it consists of.

import { stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { SCRIPTS } from '../../scripts/bundle.ts';
import { outcomeOf } from '../../test/support/command.ts';
import { BINARY } from '../../test/support/host.ts';
import { figure } from '../figures.ts';
import { type Findings, RUNTIME, type Say } from '../stage.ts';

const MB = 1024 * 1024;

export async function size(say: Say): Promise<Findings> {
  say('size');
  const mb = async (file: string): Promise<number> => (await stat(file)).size / MB;
  const built = (name: string): string => fileURLToPath(new URL(`../../dist/${name}`, import.meta.url));
  const [own, runtime] = [await mb(BINARY), await mb(RUNTIME)];
  const parts = await Promise.all(
    (['js', 'cache'] as const).map(async (kind) => {
      const sizes = await Promise.all(SCRIPTS.map(async (script) => await mb(built(`${script}.${kind}`))));
      return sizes.reduce((sum, one) => sum + one, 0);
    }),
  );
  const [scripts = 0, caches = 0] = parts;
  // What dpkg-deb does unless told otherwise.
  const { stdout } = await outcomeOf(['sh', '-c', 'xz -6 --stdout "$1" | wc -c', 'sh', BINARY]);
  return {
    rows: [
      {
        what: 'size of the executable',
        against: 'the runtime in it',
        ...{ value: own, unit: 'MB' },
        detail: `the runtime has ${figure(runtime)} MB, scripts ${figure(scripts)} MB, their code caches ${figure(caches)} MB`,
      },
      {
        what: 'size of the executable, compressed as in a package',
        against: 'xz -6',
        ...{ value: Number(stdout.toString()) / MB, unit: 'MB' },
        detail: 'nearly all of it is the runtime',
      },
    ],
  };
}
