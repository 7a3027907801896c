// Which program fetches what, with which words and variables: nothing secret in an argv, nothing in an environment that
// the program does not need. And what hangs is given up.

import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { planUris } from '../../../src/container/uris.ts';
import { fetchFile, transferOf } from '../../../src/host/fetch.ts';
import { CHILD_ENVIRONMENT } from '../../../src/host/programs.ts';
import { tempDirectory } from '../../support/temp.ts';

const SLAVE = {
  http_proxy: 'http://proxy:3128',
  NO_PROXY: 'localhost',
  AWS_SECRET_ACCESS_KEY: 'aws-secret',
  HADOOP_HOME: '/opt/hadoop',
  JAVA_HOME: '/opt/java',
  MESOS_SLAVE_ID: 'S0',
};

describe('a transfer', () => {
  it('by curl has its URL on stdin, quoted, and the proxies alone', () => {
    const url = 'https://user:pa"ss@host/a\\b[1-9]?token=t';
    const { argv, input, environment, as } = transferOf({ by: 'curl', url }, './0/a', SLAVE);
    assert.ok(!argv.join(' ').includes('host'));
    assert.equal(input, 'url = "https://user:pa\\"ss@host/a\\\\b[1-9]?token=t"\n');
    assert.equal(argv[1], '-q', 'curl reads its settings file unless this stands first');
    assert.deepEqual(environment, {
      ...CHILD_ENVIRONMENT,
      http_proxy: SLAVE.http_proxy,
      NO_PROXY: SLAVE.NO_PROXY,
    });
    assert.equal(as, 'confined');
  });

  it('by curl has the proxy for http in either spelling, the small one first', () => {
    const proxyOf = (slave: Readonly<Record<string, string>>) =>
      transferOf({ by: 'curl', url: 'http://h/' }, './0/a', slave).environment.http_proxy;
    assert.equal(proxyOf({ HTTP_PROXY: 'http://large' }), 'http://large');
    assert.equal(proxyOf({ HTTP_PROXY: 'http://large', http_proxy: 'http://small' }), 'http://small');
    assert.equal(proxyOf({ HTTP_PROXY: 'http://large', http_proxy: '' }), '', 'none is meant');
    assert.equal(proxyOf({}), undefined);
  });

  it("by hadoop is the one in the slave's HADOOP_HOME, with JAVA_HOME", () => {
    const url = 'hdfs://name/x';
    const { argv, environment } = transferOf({ by: 'hadoop', url }, './0/x', SLAVE);
    assert.deepEqual(argv, ['/opt/hadoop/bin/hadoop', 'fs', '-copyToLocal', url, './0/x']);
    assert.equal(environment.JAVA_HOME, '/opt/java');
    assert.equal(environment.http_proxy, undefined);
    assert.equal(environment.MESOS_SLAVE_ID, undefined);
  });

  it('by cp has no variable of the slave, and takes a path for a path', () => {
    const { argv, environment } = transferOf({ by: 'copy', path: '/-x' }, './0/-x', SLAVE);
    assert.deepEqual(argv.slice(1), ['--', '/-x', './0/-x']);
    assert.deepEqual(environment, CHILD_ENVIRONMENT);
  });
});

describe('a transfer by curl', () => {
  it('goes on for as long as something comes, and is given up when nothing does', async () => {
    const stallMs = 3_000;
    const server = createServer(async (request, response) => {
      // A byte at a time, longer than a transfer may hang in all.
      for (let n = 0; n < 9; n++) {
        response.write('x');
        await sleep(500);
      }
      if (request.url === '/slow') response.end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    await using temp = await tempDirectory('ft-');
    try {
      // An address of a TCP server is never a path.
      const { port } = server.address() as AddressInfo;
      const fetch = async (path: string) => {
        const value = `http://127.0.0.1:${port}/${path}`;
        const uri = { value, executable: false, extract: true, cache: false };
        const planned = planUris({ uris: [uri], unpack: true });
        const [first] = planned.ok ? planned.fetches : [];
        assert.ok(first !== undefined);
        await mkdir(temp.at(path));
        await fetchFile(first, path, first.file, {
          cwd: temp.path,
          owner: { confined: [], plain: [] },
          slaveEnvironment: {},
          noteIn: temp.at('children'),
          signal: new AbortController().signal,
          stallMs,
        });
        return await readFile(temp.at(path, first.file), 'utf8');
      };
      const hung = assert.rejects(fetch('hangs'), {
        kind: 'timeout',
        message: `uri http://127.0.0.1:${port}/hangs: no progress for 3 s`,
      });
      assert.equal(await fetch('slow'), 'x'.repeat(9));
      await hung;
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });
});
