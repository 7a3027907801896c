// A slave's environment has variables that are meant for other programs of the runtime's kind, or by which such programs can be
// made to run what somebody wrote: to the binary they are nothing.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { outcomeOf } from '../support/command.ts';
import { BINARY, type Installation, install } from '../support/installation.ts';

describe('variables that steer other programs', () => {
  let here: Installation;
  const at = (name: string): string => here.at(name);
  before(async () => {
    here = await install();
    const mark = JSON.stringify(at('mark'));
    await writeFile(at('evil.cjs'), `require('node:fs').writeFileSync(${mark}, '')\n`);
    await writeFile(at('evil.mjs'), `import fs from 'node:fs'; fs.writeFileSync(${mark}, '')\n`);
    await writeFile(
      at('openssl.cnf'),
      'nodejs_conf = conf\nopenssl_conf = conf\n[conf]\nengines = engines\n[engines]\nevil = evil\n[evil]\ndynamic_path = /nonexistent\nengine_id = evil\ninit = 1\n',
    );
  });
  after(async () => await here[Symbol.asyncDispose]());

  const run = async (args: readonly string[], env: Readonly<Record<string, string>>) => {
    const { code, stdout, stderr } = await outcomeOf([BINARY, '--config', here.configFile, ...args], { env });
    return { code, stdout: stdout.toString('hex'), stderr };
  };
  const variables: readonly (readonly [name: string, value: (at: (name: string) => string) => string])[] = [
    ['NODE_OPTIONS', (path) => `--require ${path('evil.cjs')}`],
    ['NODE_OPTIONS', (path) => `--import ${path('evil.mjs')} --inspect=127.0.0.1:0`],
    ['NODE_PATH', (path) => path('')],
    ['NODE_DEBUG', () => 'fs,net,http,module,child_process'],
    ['NODE_PENDING_DEPRECATION', () => '1'],
    ['NODE_TLS_REJECT_UNAUTHORIZED', () => '0'],
    ['NODE_EXTRA_CA_CERTS', (path) => path('openssl.cnf')],
    ['NODE_CHANNEL_FD', () => '0'],
    ['PKG_EXECPATH', () => 'PKG_INVOKE_NODEJS'],
    ['PKG_DEBUG', () => '1'],
    ['DEBUG', () => '*'],
    ['OPENSSL_CONF', (path) => path('openssl.cnf')],
    ['SSL_CERT_FILE', (path) => path('evil.cjs')],
    ['UV_THREADPOOL_SIZE', () => '1'],
    ['DOCKER_HOST', () => 'tcp://127.0.0.1:1'],
    ['BASH_ENV', (path) => path('evil.cjs')],
    ['PATH', (path) => path('')],
    ['TMPDIR', (path) => path('nowhere')],
  ];
  for (const [name, value] of variables)
    it(`${name}=${value((path) => `…/${path}`)} changes nothing`, async () => {
      for (const args of [
        ['containers'],
        ['config'],
        ['state'],
        ['-e', 'process.exit(3)'],
        [at('evil.cjs')],
      ]) {
        const plain = await run(args, {});
        assert.deepEqual(await run(args, { [name]: value(at) }), plain, args.join(' '));
      }
      assert.equal(existsSync(at('mark')), false, 'what somebody wrote was run');
    });
});
