// Where URIs are had from: real servers of HTTP and FTP, through a real proxy or past it, and what is fetched by `aws` and
// `hadoop`. Those two programs are stand-ins here: they take the real ones' command lines and say how they were called.

import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { TaskState } from '../../src/mesos/messages.ts';
import { tarOf } from '../support/archives.ts';
import { type Certificate, makeAuthority } from '../support/certificates.ts';
import { startFtp } from '../support/ftp.ts';
import { type Host, sandboxFile, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import { supervisorLog } from '../support/on-host.ts';
import { programsIn, wrapWith } from '../support/private-programs.ts';
import { startProxy } from '../support/proxy.ts';
import type { LaunchedTask, StandInSlave } from '../support/slave.ts';
import { commandTask, type TaskOptions } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { Web } from '../support/web.ts';

const { FINISHED, FAILED } = TaskState;
const NOBODY = 65534;
/** A host that only the proxy knows. */
const FAR = 'files.invalid';
/** Says how it was called, by whom and with which variables, in the file that it was to make. */
const TELLS = `for file; do :; done
if [ "$4" = "s3://bucket/absent" ] || [ "$3" = "hdfs://name/absent" ]; then echo "noise" >&2; echo "fatal: $1 $2: no such key" >&2; exit 1; fi
{ echo "$0 $*"; id -u; env | grep -v '^PWD=\\|^_=\\|^SHLVL=\\|^OLDPWD=' | sort; } > "$file"`;

describe('URIs', { skip: await skipWithoutTools(), timeout: 240_000 }, () => {
  let host: Host;
  let slave: StandInSlave;
  let web: Web;
  /** Of FAR. */
  let certificate: Certificate;
  const slaves: StandInSlave[] = [];
  /** A slave with those variables; what it starts sees the stand-ins, and trusts the tests' own authority. */
  const slaveWith = async (launchEnvironment: Readonly<Record<string, string>>): Promise<StandInSlave> => {
    const made = await host.slave({
      launchEnvironment,
      wrap: wrapWith([
        { from: host.directory.at('programs'), over: '/usr/local/sbin' },
        { from: host.directory.at('certs'), over: '/etc/ssl/certs' },
      ]),
    });
    slaves.push(made);
    return made;
  };
  before(async () => {
    host = await startHost();
    programsIn(host.directory.at('programs'), { aws: TELLS, hadoop: TELLS });
    await mkdir(host.directory.at('certs'), { mode: 0o755 });
    const authority = await makeAuthority(host.directory.at('authority'));
    await copyFile(authority.certFile, host.directory.at('certs', 'ca-certificates.crt'));
    certificate = await authority.issue(`DNS:${FAR},IP:127.0.0.1`, 'far');
    web = new Web();
    await web.start();
    slave = await slaveWith({
      ...{ AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY: 'secret of aws', JAVA_HOME: '/opt/java' },
      ...{ DOCKER_CONFIG: '/none', HTTPS_PROXY: 'http://127.0.0.1:9' },
    });
  });
  after(async () => {
    web?.close();
    try {
      assert.deepEqual(await host.leftovers(), []);
      for (const { violations } of slaves) assert.deepEqual(violations, []);
    } finally {
      await host?.[Symbol.asyncDispose]();
    }
  });

  const launch = async (options: Partial<TaskOptions>, user = 'root', on = slave): Promise<LaunchedTask> =>
    await on.launch(commandTask({ image: IMAGES.busybox, value: 'true', ...options }), { user });
  const ends = async (task: LaunchedTask, state: number): Promise<string> => {
    const end = await task.ended(60_000);
    assert.equal(end.state, state, `${end.message}\n${supervisorLog(host)}`);
    await task.gone();
    return end.message ?? '';
  };
  /** The content of what one URI brings. */
  const fetched = async (uri: string, name: string, on = slave): Promise<string> => {
    const task = await launch({ uris: [{ value: uri }] }, 'root', on);
    await ends(task, FINISHED);
    return readFileSync(`${task.sandbox}/fs/${name}`, 'utf8');
  };

  it('of ftp come from a real server, with a login and without, archives too', async () => {
    const directory = host.directory.at('ftp');
    await mkdir(`${directory}/dir`, { recursive: true });
    await writeFile(`${directory}/dir/plain`, 'by ftp');
    await writeFile(`${directory}/a.tgz`, gzipSync(tarOf([{ name: 'in/archive', content: 'unpacked' }])));
    await using open = await startFtp(directory);
    await using closed = await startFtp(directory, 'sesame');
    const login = `user:sesame@${closed.address}`;
    const uris = [
      { value: `ftp://${open.address}/dir/plain` },
      { value: `ftp://${open.address}/a.tgz` },
      { value: `ftp://${login}/dir/plain`, output_file: 'with-login', executable: true },
    ];
    const task = await launch({ uris, value: 'cat plain in/archive with-login' }, 'nobody');
    await ends(task, FINISHED);
    assert.equal(await sandboxFile(task, 'stdout'), 'by ftpunpackedby ftp');
    const file = statSync(`${task.sandbox}/fs/with-login`);
    assert.deepEqual([file.uid, file.mode & 0o777], [NOBODY, 0o755]);

    const refused = [
      [`ftp://${open.address}/absent`, /^uri ftp:\/\/127.+\/absent: .*not exist/],
      [`ftp://user:guessed@${closed.address}/a.tgz`, /^uri ftp:\/\/\*{3}@127.+\/a\.tgz: Access denied/],
    ] as const;
    for (const [value, words] of refused) {
      const absent = await launch({ uris: [{ value }] });
      const message = await ends(absent, FAILED);
      assert.match(message, words);
      assert.ok(!message.includes('guessed'));
      assert.deepEqual(readdirSync(`${absent.sandbox}/fs`), []);
    }
    assert.equal(closed.log().match(/failed login/g)?.length, 1, 'a no is a no');
  });

  it('are tried again when the connection breaks, before the answer or in its middle', async () => {
    const tries = new Map<string, number>();
    const count = (path: string) => {
      tries.set(path, (tries.get(path) ?? 0) + 1);
      return tries.get(path) ?? 0;
    };
    web.pages.set('/reset', (_, response) => {
      if (count('reset') < 3) response.socket?.resetAndDestroy();
      else response.end('whole');
    });
    web.pages.set('/cut', (_, response) => {
      const isLast = count('cut') === 3;
      response.writeHead(200, { 'Content-Length': 8 });
      response.write(isLast ? '' : 'half', () => (isLast ? response.end('complete') : response.destroy()));
    });
    web.pages.set('/never', (_, response) => {
      count('never');
      response.socket?.resetAndDestroy();
    });
    web.pages.set('/gone', (_, response) => {
      count('gone');
      response.writeHead(410).end();
    });
    const url = (path: string) => `http://${web.address}/${path}`;
    const task = await launch({ uris: ['reset', 'cut'].map((path) => ({ value: url(path) })) });
    const [never, gone] = [
      await launch({ uris: [{ value: url('never') }] }),
      await launch({ uris: [{ value: url('gone') }] }),
    ];
    await ends(task, FINISHED);
    assert.equal(await sandboxFile(task, 'fs/reset'), 'whole');
    assert.equal(await sandboxFile(task, 'fs/cut'), 'complete');
    assert.match(await ends(never, FAILED), /^uri http:.*\/never: .+/);
    assert.match(await ends(gone, FAILED), /^uri http:.*\/gone: .*410$/);
    assert.deepEqual(Object.fromEntries(tries), { reset: 3, cut: 3, never: 3, gone: 1 });
  });

  it("of s3 are fetched by aws, as the sandbox's owner, with the slave's AWS_* and proxies and no more", async () => {
    const task = await launch({ uris: [{ value: 's3://bucket/dir/key' }], value: 'cat key' }, 'nobody');
    await ends(task, FINISHED);
    assert.deepEqual((await sandboxFile(task, 'stdout')).trimEnd().split('\n'), [
      '/usr/local/sbin/aws s3 cp --only-show-errors s3://bucket/dir/key ./0/key',
      String(NOBODY),
      ...['AWS_ACCESS_KEY_ID=id', 'AWS_SECRET_ACCESS_KEY=secret of aws', 'HTTPS_PROXY=http://127.0.0.1:9'],
      ...['LC_ALL=C.UTF-8', 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
    ]);
    assert.equal(statSync(`${task.sandbox}/fs/key`).uid, NOBODY);
    const absent = await launch({ uris: [{ value: 's3://bucket/absent' }] });
    assert.equal(await ends(absent, FAILED), 'uri s3://bucket/absent: fatal: s3 cp: no such key');
  });

  it('of hdfs are fetched by the hadoop in PATH where the slave has no HADOOP_HOME', async () => {
    const task = await launch(
      { uris: [{ value: 'hdfs://name:8020/dir/file' }], value: 'cat file' },
      'nobody',
    );
    await ends(task, FINISHED);
    const lines = (await sandboxFile(task, 'stdout')).split('\n');
    const call = '/usr/local/sbin/hadoop fs -copyToLocal hdfs://name:8020/dir/file ./0/file';
    assert.deepEqual(lines.slice(0, 2), [call, String(NOBODY)]);
    assert.ok(lines.includes('JAVA_HOME=/opt/java'));
    const absent = await launch({ uris: [{ value: 'hdfs://name/absent' }] });
    const words = 'uri hdfs://name/absent: fatal: fs -copyToLocal: no such key';
    assert.equal(await ends(absent, FAILED), words);
  });

  for (const name of ['http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY']) {
    it(`of http go through the proxy that ${name} of the slave names`, async () => {
      const port = Number(web.address.replace(/^.*:/, ''));
      await using proxy = await startProxy({ [FAR]: port });
      web.page(`/${name}`, name);
      const behind = await slaveWith({ [name]: proxy.url });
      assert.equal(await fetched(`http://${FAR}/${name}`, name, behind), name);
      assert.deepEqual(proxy.seen, [`GET http://${FAR}/${name}`]);
    });
  }

  it('of a host that only the proxy knows are not to be had without it', async () => {
    const without = await launch({ uris: [{ value: `http://${FAR}/file` }] });
    assert.match(await ends(without, FAILED), /^uri http:\/\/files\.invalid\/file: .*resolve host/i);
  });

  for (const name of ['https_proxy', 'HTTPS_PROXY', 'all_proxy']) {
    it(`of https go through the proxy that ${name} of the slave names`, async () => {
      const tls = createTlsServer(
        {
          key: readFileSync(certificate.keyFile),
          cert: readFileSync(certificate.certFile),
        },
        (_, response) => void response.end('over tls'),
      );
      await new Promise<void>((resolve) => tls.listen(0, '127.0.0.1', resolve));
      try {
        // An address of a TCP server is never a path.
        const { port } = tls.address() as AddressInfo;
        await using proxy = await startProxy({ [FAR]: port });
        const behind = await slaveWith({ [name]: proxy.url });
        assert.equal(await fetched(`https://${FAR}/file`, 'file', behind), 'over tls');
        assert.deepEqual(proxy.seen, [`CONNECT ${FAR}:443`]);
      } finally {
        tls.closeAllConnections();
        tls.close();
      }
    });
  }

  for (const name of ['no_proxy', 'NO_PROXY']) {
    it(`go past the proxy to the hosts that ${name} names`, async () => {
      await using proxy = await startProxy({});
      const near = web.page(`/${name}`, name);
      const behind = await slaveWith({ http_proxy: proxy.url, [name]: 'example.invalid,127.0.0.1' });
      assert.equal(await fetched(near, name, behind), name);
      assert.deepEqual(proxy.seen, []);
      // The same with nothing that says so: through the proxy, which does not know it.
      const all = await slaveWith({ http_proxy: proxy.url });
      assert.match(await ends(await launch({ uris: [{ value: near }] }, 'root', all), FAILED), /502/);
      assert.ok(proxy.seen.length > 0 && proxy.seen.every((line) => line === `GET ${near}`));
    });
  }

  it('leave no process of theirs', () => {
    for (const id of readdirSync(`${host.root}/mesos`)) {
      const children = `${host.root}/mesos/${id}/children`;
      assert.deepEqual(existsSync(children) ? readdirSync(children) : [], [], id);
    }
  });
});
