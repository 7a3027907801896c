import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { DEFAULT_CONFIG } from '../../../src/config/schema.ts';
import { chooseImage, parseImageUrl, parseReference } from '../../../src/container/image.ts';
import type { OldContainer } from '../../../src/container/task.ts';
import { parseOsRelease } from '../../../src/host/os-release.ts';
import { newContainer } from './task-request.ts';

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
    const container = newContainer({ image: 'app:1' });
    assert.equal(named(chooseImage({ kind: 'command', container }, config(), {}, debian)), 'app:1');
    const url = { ...container, image: 'docker:///app' };
    assert.equal(named(chooseImage({ kind: 'command', container: url }, config(), {}, debian)), undefined);
  });

  // What /etc/os-release says of the host, as far as it matters, and what the hub has for it.
  const guesses: readonly (readonly [release: string, image: string | undefined])[] = [
    ['ID=debian VERSION_ID="8" VERSION="8 (jessie)"', 'debian:8'],
    ['ID=debian VERSION_ID="12" VERSION_CODENAME=bookworm', 'debian:12'],
    ['ID=debian VERSION_ID="13" VERSION_CODENAME=trixie', 'debian:13'],
    ['ID=debian VERSION_CODENAME=forky PRETTY_NAME="Debian GNU/Linux forky/sid"', 'debian:forky'],
    ['ID=debian PRETTY_NAME="Debian GNU/Linux bullseye/sid"', 'debian:bullseye'],
    ['ID=debian PRETTY_NAME="Debian GNU/Linux"', undefined],
    ['ID=ubuntu ID_LIKE=debian VERSION_ID="14.04"', 'ubuntu:14.04'],
    ['ID=ubuntu ID_LIKE=debian VERSION_ID="24.04" VERSION_CODENAME=noble', 'ubuntu:24.04'],
    ['ID="centos" ID_LIKE="rhel fedora" VERSION_ID="7"', 'centos:7'],
    ['ID="centos" ID_LIKE="rhel fedora" VERSION_ID="8"', 'centos:8'],
    ['ID="centos" ID_LIKE="rhel fedora" VERSION_ID="9" PRETTY_NAME="CentOS Stream 9"', undefined],
    ['ID="centos" ID_LIKE="rhel fedora" VERSION_ID="10"', undefined],
    ['ID="rhel" VERSION_ID="7.9"', 'redhat/ubi7:7.9'],
    ['ID="rhel" VERSION_ID="8.10"', 'redhat/ubi8:8.10'],
    ['ID="rhel" VERSION_ID="10.0"', 'redhat/ubi10:10.0'],
    ['ID="rocky" VERSION_ID="8.10"', 'rockylinux/rockylinux:8.10'],
    ['ID="rocky" VERSION_ID="9.5"', 'rockylinux/rockylinux:9.5'],
    ['ID="almalinux" VERSION_ID="8.10"', 'almalinux:8.10'],
    ['ID="almalinux" VERSION_ID="9.5"', 'almalinux:9.5'],
    ['ID=fedora VERSION_ID=20', 'fedora:20'],
    ['ID=fedora VERSION_ID=41 VERSION_CODENAME=""', 'fedora:41'],
    ['ID="amzn" VERSION_ID="2018.03"', 'amazonlinux:2018.03'],
    ['ID="amzn" VERSION_ID="2"', 'amazonlinux:2'],
    ['ID="amzn" VERSION_ID="2023"', 'amazonlinux:2023'],
    ['ID=opensuse VERSION_ID="42.3"', 'opensuse/leap:42.3'],
    ['ID=opensuse VERSION_ID="20170801"', 'opensuse/tumbleweed:latest'],
    ['ID="opensuse-leap" ID_LIKE="suse opensuse" VERSION_ID="15.6"', 'opensuse/leap:15.6'],
    ['ID="opensuse-tumbleweed" VERSION_ID="20250101"', 'opensuse/tumbleweed:latest'],
    ['ID=alpine VERSION_ID=3.4.6', 'alpine:3.4.6'],
    ['ID=alpine VERSION_ID=3.21.2', 'alpine:3.21.2'],
    ['ID=alpine VERSION_ID=3.22.0_alpha20250108', 'alpine:edge'],
    ['ID=arch BUILD_ID=rolling', 'archlinux:latest'],
    ['ID=plan9', undefined],
    ['ID= VERSION_ID=1', undefined],
    ['', undefined],
  ];
  for (const [release, image] of guesses) {
    test(`on a host with ${release} it is ${image}`, () => {
      const os = parseOsRelease(release.replace(/ (?=[A-Z_]+=)/g, '\n'));
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
    assert.equal(choose(undefined, config({}, { index: 'reg:5000' }), {}, rhel), 'reg:5000/redhat/ubi9:9.3');
    // Of a task's own image and of the other three steps they change nothing.
    assert.equal(choose(old('docker:///task'), config({}, index), {}, debian), 'task:latest');
    assert.equal(choose(old(), config({}, index), slave, debian, 'executor'), 'slave:latest');
    assert.equal(choose(undefined, config(), {}, undefined), undefined);
  });
});
