// Holds that scripts/audit passes on what a registry tells npm of, and never takes silence for an answer. The registry here is a
// page; npm is the real one.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { bundledPackages } from '../../../scripts/bundle.ts';
import { outcomeOf } from '../../support/command.ts';
import { type TempDirectory, tempDirectory } from '../../support/temp.ts';
import { Web } from '../../support/web.ts';

const SCRIPT = resolve(import.meta.dirname, '../../../scripts/audit.ts');
const ADVISORIES = '/-/npm/v1/security/advisories/bulk';
const URL_OF_ONE = 'https://example.com/advisories/1';

describe('scripts/audit', () => {
  const web = new Web();
  let directory: TempDirectory;
  before(async () => {
    directory = await tempDirectory('audit-');
    await web.start();
  });
  after(async () => {
    web.close();
    await directory.remove();
  });

  const audit = async (known: readonly object[]) => {
    await writeFile(directory.at('known.json'), JSON.stringify(known));
    const words = ['--registry', `http://${web.address}/`, '--known', directory.at('known.json')];
    const { code, stdout, stderr } = await outcomeOf([process.execPath, SCRIPT, ...words], {
      env: { PATH: process.env.PATH, HOME: directory.path },
    });
    return { code, stdout: stdout.toString(), stderr };
  };
  const advise = (name: string) =>
    web.page(
      ADVISORIES,
      JSON.stringify({
        [name]: [
          {
            id: 1,
            url: URL_OF_ONE,
            title: 'writes anywhere',
            severity: 'high',
            vulnerable_versions: '<99.0.0',
            cwe: [],
            cvss: { score: 0, vectorString: null },
          },
        ],
      }),
    );

  it('says with status 2 that a registry does not tell', async () => {
    const { code, stdout, stderr } = await audit([]);
    assert.deepEqual([code, stdout], [2, '']);
    assert.match(stderr, /^audit: package-lock\.json: .*404[^\n]*\n$/s);
  });

  it('has nothing to say where nothing is known', async () => {
    web.page(ADVISORIES, '{}');
    assert.deepEqual(await audit([]), { code: 0, stdout: '', stderr: '' });
  });

  it('says what is known, and whether it is in the executable', async () => {
    assert.ok((await bundledPackages()).some((path) => path.endsWith('/tar-fs')));
    for (const [name, where] of [
      ['tar-fs', 'in the executable'],
      ['ssh2', 'not in the executable'],
    ] as const) {
      advise(name);
      assert.deepEqual(await audit([]), {
        code: 1,
        stdout: `${name} <99.0.0 (${where}): high: writes anywhere: ${URL_OF_ONE}\n`,
        stderr: '',
      });
    }
  });

  it('is silent about what has been argued, and says when that is found no longer', async () => {
    const known = [{ advisory: URL_OF_ONE, package: 'ssh2', why: 'is not in the bundle' }];
    advise('ssh2');
    assert.deepEqual(await audit(known), { code: 0, stdout: '', stderr: '' });
    web.page(ADVISORIES, '{}');
    assert.deepEqual(await audit(known), {
      code: 1,
      stdout: `ssh2: argued, and found no longer: ${URL_OF_ONE}\n`,
      stderr: '',
    });
  });
});
