import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { DEFAULT_CONFIG } from '../../../src/config/schema.ts';
import { chooseImage, parseImageUrl, parseReference } from '../../../src/container/image.ts';
import type { OldContainer } from '../../../src/container/task.ts';

const named = (answer: ReturnType<typeof parseReference>) => (answer.ok ? answer.image : undefined);
const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;

describe('names of images', () => {
  const accepted: readonly (readonly [url: string, image: string])[] = [
    ['docker:///busybox', 'busybox:latest'],
    ['docker:///busybox:1.36', 'busybox:1.36'],
    ['docker:///library/busybox', 'library/busybox:latest'],
    ['docker:///a/b/c:v1.0-rc_1', 'a/b/c:v1.0-rc_1'],
    [`docker:///busybox@${DIGEST}`, `busybox@${DIGEST}`],
    [`docker:///busybox:1@${DIGEST}`, `busybox:1@${DIGEST}`],
    ['docker://registry:5000/app', 'registry:5000/app:latest'],
    ['docker://registry.example.com/team/app:2', 'registry.example.com/team/app:2'],
    ['docker://[::1]:5000/app', '[::1]:5000/app:latest'],
    ['docker:///my__app', 'my__app:latest'],
  ];
  for (const [url, image] of accepted) {
    test(`${url} is ${image}`, () => assert.equal(named(parseImageUrl(url)), image));
  }

  const refused = [
    'busybox',
    'http://busybox',
    'docker:busybox',
    'docker:///',
    'docker:///-v',
    'docker:///--privileged',
    'docker:///Busybox',
    'docker:///busybox:',
    'docker:///busybox:-1',
    'docker:///busybox latest',
    'docker:///busybox\n',
    'docker:///../etc',
    'docker:///a//b',
    'docker:///a/-b',
    'docker:////busybox',
    'docker:///busybox@sha256:123',
    'docker:///busybox?tag=1',
    `docker:///${'a'.repeat(300)}`,
    `docker:///${'ab'.repeat(32)}`,
    'DOCKER:///busybox',
    '',
  ];
  for (const url of refused) {
    test(`${JSON.stringify(url).slice(0, 60)} is refused on one line`, () => {
      const answer = parseImageUrl(url);
      assert.ok(!answer.ok);
      assert.match(answer.why, /image/);
    });
  }

  test('nothing that is accepted begins with a dash, has a blank, or lacks tag and digest', () => {
    const piece = fc.stringMatching(/^[-a-zA-Z0-9._:/@ ]{0,40}$/);
    fc.assert(
      fc.property(piece, (text) => {
        const image = named(parseReference(text));
        if (image === undefined) return;
        assert.match(image, /^[a-zA-Z0-9[]/);
        assert.doesNotMatch(image, /\s/);
        assert.match(image, /:[\w.-]+$|@.+:[0-9a-fA-F]{32,}$/);
        assert.equal(named(parseReference(image)), image);
      }),
      { numRuns: 2000 },
    );
  });

  test('long names are refused quickly', () => {
    const startedAt = performance.now();
    for (const text of ['a'.repeat(1e6), 'a-'.repeat(500), `${'a.'.repeat(400)}!`, `${'a'.repeat(1000)}!`]) {
      assert.equal(named(parseReference(text)), undefined);
    }
    assert.ok(performance.now() - startedAt < 2000);
  });
});

describe('which image a task runs', () => {
  const old = (image?: string): OldContainer => ({
    form: 'old',
    options: [],
    ...(image === undefined ? {} : { image }),
  });
  const config = (
    image: Partial<typeof DEFAULT_CONFIG.image> = {},
    index: typeof DEFAULT_CONFIG.index = {},
  ) => ({
    image: { ...DEFAULT_CONFIG.image, ...image },
    index,
  });
  const debian = { id: 'debian', versionId: '12' };
  const slave = { MESOS_DEFAULT_CONTAINER_IMAGE: 'docker:///slave' };
  const choose = (
    container: OldContainer | undefined,
    settings: ReturnType<typeof config>,
    environment: Record<string, string>,
    os: { id?: string; versionId?: string; versionCodename?: string } | undefined,
    kind: 'command' | 'executor' = 'command',
  ) => {
    const task = container === undefined ? { kind } : { kind, container };
    return named(chooseImage(task, settings, environment, os));
  };

  test("the task's, the operator's, the slave's, the host's: in this order", () => {
    const operator = config({ default: 'docker:///operator' });
    assert.equal(choose(old('docker:///task'), operator, slave, debian), 'task:latest');
    assert.equal(choose(old(), operator, slave, debian), 'operator:latest');
    assert.equal(choose(undefined, operator, slave, debian), 'operator:latest');
    assert.equal(choose(old('docker:///'), operator, slave, debian), 'operator:latest');
    assert.equal(choose(old(), config(), slave, debian), 'slave:latest');
    assert.equal(choose(old(), config(), {}, debian), 'debian:12');
  });

  test("the task's is passed over where the operator says so", () => {
    const ignore = config({ ignore: true, default: 'operator' });
    assert.equal(choose(old('docker:///task'), ignore, slave, debian), 'operator:latest');
    assert.equal(choose(old('docker:///task'), config({ ignore: true }), slave, debian), 'slave:latest');
  });

  test('a bad name is not replaced by another', () => {
    assert.equal(choose(old('http://task'), config({ default: 'operator' }), slave, debian), undefined);
    assert.equal(choose(old(), config({ default: 'ftp://operator' }), slave, debian), undefined);
  });

  test('the new form has a bare name', () => {
    const container = {
      form: 'new',
      type: 'DOCKER',
      image: 'app:1',
      network: 'HOST',
      portMappings: [],
      privileged: false,
      parameters: [],
      forcePull: false,
      volumes: [],
    } as const;
    assert.equal(named(chooseImage({ kind: 'command', container }, config(), {}, debian)), 'app:1');
    const url = { ...container, image: 'docker:///app' };
    assert.equal(named(chooseImage({ kind: 'command', container: url }, config(), {}, debian)), undefined);
  });

  const guesses: readonly (readonly [id: string, version: string | undefined, image: string | undefined])[] =
    [
      ['debian', '12', 'debian:12'],
      ['ubuntu', '22.04', 'ubuntu:22.04'],
      ['centos', '7', 'centos:7'],
      ['rhel', '9.3', 'redhat/ubi9:9.3'],
      ['rocky', '9.3', 'rockylinux:9.3'],
      ['almalinux', '9.3', 'almalinux:9.3'],
      ['fedora', '39', 'fedora:39'],
      ['amzn', '2023', 'amazonlinux:2023'],
      ['opensuse-leap', '15.5', 'opensuse/leap:15.5'],
      ['opensuse-tumbleweed', '20240101', 'opensuse/tumbleweed:latest'],
      ['alpine', '3.19.1', 'alpine:3.19.1'],
      ['arch', undefined, 'archlinux:latest'],
      ['plan9', undefined, undefined],
    ];
  for (const [id, versionId, image] of guesses) {
    test(`${id} ${versionId ?? ''} is ${image}`, () => {
      const os = versionId === undefined ? { id } : { id, versionId };
      assert.equal(choose(undefined, config(), {}, os), image);
    });
  }

  test('index and account go before the guess; an executor gets the account of libmesos', () => {
    const index = { index: 'reg:5000', account: 'acc', accountLibmesos: 'libmesos' };
    assert.equal(choose(undefined, config({}, index), {}, debian), 'reg:5000/acc/debian:12');
    assert.equal(choose(undefined, config({}, index), {}, debian, 'executor'), 'reg:5000/libmesos/debian:12');
    const rhel = { id: 'rhel', versionId: '9.3' };
    assert.equal(choose(undefined, config({}, { account: 'acc' }), {}, rhel), 'acc/ubi9:9.3');
    assert.equal(choose(undefined, config({}, { account: 'Bad Account' }), {}, debian), undefined);
    assert.equal(choose(undefined, config(), {}, undefined), undefined);
  });

  test('a Debian without a version is known by its code name', () => {
    assert.equal(
      choose(undefined, config(), {}, { id: 'debian', versionCodename: 'trixie' }),
      'debian:trixie',
    );
  });
});
