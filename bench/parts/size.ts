// How large the executable is, what it consists of, and how large the package.

import { stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { SCRIPTS } from '../../scripts/bundle.ts';
import { output } from '../../test/support/command.ts';
import { BINARY } from '../../test/support/host.ts';
import { debianPackage } from '../../test/support/package.ts';
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
  const deb = await debianPackage();
  const installedMb = Number(await output(['dpkg-deb', '-f', deb, 'Installed-Size'])) / 1024;
  return {
    rows: [
      {
        what: 'size of the executable',
        against: 'the runtime in it',
        ...{ value: own, unit: 'MB' },
        detail: `the runtime has ${figure(runtime)} MB, scripts ${figure(scripts)} MB, their code caches ${figure(caches)} MB`,
      },
      {
        what: 'size of the .deb',
        against: 'what it installs',
        ...{ value: await mb(deb), unit: 'MB' },
        detail: `installed ${figure(installedMb)} MB; nearly all of it is the runtime`,
      },
    ],
  };
}
