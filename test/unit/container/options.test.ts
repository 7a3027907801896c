import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DEFAULT_CONFIG } from '../../../src/config/schema.ts';
import { splitWords, taskOptions } from '../../../src/container/options.ts';
import type { NewContainer } from '../../../src/container/task.ts';
import { newContainer, taskRequest } from './task-request.ts';

test('a word is taken apart only behind the name of an option', () => {
  const table: readonly (readonly [readonly string[], readonly string[]])[] = [
    [['-p 8090:8080'], ['-p', '8090:8080']],
    [['--label a=b'], ['--label', 'a=b']],
    [['-e  A=b c'], ['-e', 'A=b c']],
    [
      ['-e', 'A=b c'],
      ['-e', 'A=b c'],
    ],
    [['--label=a=b c'], ['--label=a=b c']],
    [['-eA=b c'], ['-eA=b c']],
    [['a b'], ['a b']],
    [['-p '], ['-p ']],
    [['--'], ['--']],
    [['-- x'], ['-- x']],
  ];
  for (const [words, split] of table) assert.deepEqual(splitWords(words), split, words.join('|'));
});

describe('whose options a task gets', () => {
  const answer = (
    own: readonly string[] | undefined,
    config: Partial<typeof DEFAULT_CONFIG.options> = {},
  ) => {
    const task = taskRequest(own === undefined ? {} : { container: { form: 'old', options: own } });
    const options = taskOptions(task, { ...DEFAULT_CONFIG.options, ...config });
    assert.ok(options.ok);
    return options;
  };

  test('its own, then what is appended', () => {
    assert.deepEqual(answer(['-m', '1g'], { default: ['-d'], append: ['--init'] }).options, [
      '-m',
      '1g',
      '--init',
    ]);
  });

  test("the operator's where it has none or they are ignored", () => {
    assert.deepEqual(answer([], { default: ['-p 1:2'] }).options, ['-p', '1:2']);
    assert.deepEqual(answer(undefined, { default: ['-x'] }).options, ['-x']);
    const ignored = answer(['-m', '1g'], { default: ['-x'], ignore: true });
    assert.deepEqual([ignored.options, ignored.warnings.length], [['-x'], 1]);
  });

  test('what follows // is the argv, raw; what is appended is not part of it', () => {
    const raw = answer(['-x', '//', '-p 1:2', '//', 'b'], { append: ['--init'] });
    assert.deepEqual(
      [raw.options, raw.argv],
      [
        ['-x', '--init'],
        ['-p 1:2', '//', 'b'],
      ],
    );
    assert.deepEqual(answer(['//']).argv, []);
    assert.equal(answer(['-x']).argv, undefined);
  });

  test('what is appended sets the network, and takes nothing away but networks', () => {
    const { options } = answer(['--net', '--net', '-p', '1:2', '--network=a', '-e', 'B'], {
      append: ['--network=b'],
    });
    assert.deepEqual(options, ['-p', '1:2', '-e', 'B', '--network=b']);
  });

  test('a NUL is refused', () => {
    const task = taskRequest({ container: { form: 'old', options: ['--label=a\0b'] } });
    assert.ok(!taskOptions(task, DEFAULT_CONFIG.options).ok);
  });
});

describe('the new form as options', () => {
  const ports = [{ begin: 31000, end: 31009 }];
  const of = (container: Partial<NewContainer>, config = DEFAULT_CONFIG.options) =>
    taskOptions(taskRequest({ container: newContainer(container), resources: { ports } }), config);
  const words = (container: Partial<NewContainer>) => {
    const options = of(container);
    assert.ok(options.ok);
    return options.options;
  };

  test('network, ports, hostname, privileges and parameters', () => {
    assert.deepEqual(words({}), ['--network=host']);
    assert.deepEqual(
      words({
        network: 'BRIDGE',
        portMappings: [
          { hostPort: 31000, containerPort: 80 },
          { hostPort: 31001, containerPort: 53, protocol: 'UDP' },
          { hostPort: 31002, containerPort: 7, protocol: 'sctp' },
        ],
        hostname: 'h',
        privileged: true,
        volumeDriver: 'flocker',
        parameters: [
          ['label', 'a=b c'],
          ['env', '-x y'],
        ],
      }),
      [
        '--network=bridge',
        '--publish=31000:80/tcp',
        '--publish=31001:53/udp',
        '--publish=31002:7/sctp',
        '--hostname=h',
        '--privileged',
        '--volume-driver=flocker',
        '--label=a=b c',
        '--env=-x y',
      ],
    );
    assert.deepEqual(words({ network: 'USER', networkName: 'net' }), ['--network=net']);
  });

  test('volumes: of the host, of the sandbox, without a name, of a driver', () => {
    assert.deepEqual(
      words({
        volumes: [
          { hostPath: '/data', containerPath: '/d', mode: 'RO' },
          { hostPath: 'sub', containerPath: 'inside', mode: 'RW' },
          { containerPath: '/scratch', mode: 'RW' },
          { hostPath: '/a:b', containerPath: '/c', mode: 'RO' },
          {
            containerPath: '/v',
            mode: 'RW',
            dockerVolume: { driver: 'nfs', name: 'vol', driverOptions: [['o', 'rw,"x"']] },
          },
        ],
      }).slice(1),
      [
        '--volume=/data:/d:ro',
        '--volume=/sandbox/sub:/mnt/mesos/sandbox/inside:rw',
        '--volume=/scratch',
        '--mount=type=bind,source=/a:b,target=/c,readonly',
        '--mount=type=volume,source=vol,target=/v,volume-driver=nfs,"volume-opt=o=rw,""x"""',
      ],
    );
  });

  test("a Docker volume without a driver of its own has the container's, a path of the host may have two dots", () => {
    assert.deepEqual(
      words({
        volumeDriver: 'flocker',
        volumes: [
          { containerPath: '/v', mode: 'RO', dockerVolume: { name: 'vol', driverOptions: [] } },
          { hostPath: 'name', containerPath: '/n', mode: 'RW' },
          { hostPath: '/a/../b', containerPath: '/b', mode: 'RW' },
        ],
      }).slice(1),
      [
        '--mount=type=volume,source=vol,target=/v,volume-driver=flocker,readonly',
        '--volume=name:/n:rw',
        '--volume=/a/../b:/b:rw',
        '--volume-driver=flocker',
      ],
    );
  });

  const network = (container: Partial<NewContainer>, config: Partial<typeof DEFAULT_CONFIG.options> = {}) => {
    const options = of(container, { ...DEFAULT_CONFIG.options, ...config });
    assert.ok(options.ok);
    return options.options;
  };
  const net = (value: string) => ({ parameters: [['net', value]] }) as const;
  const networks: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    ['a parameter instead of the field', network({ network: 'BRIDGE', ...net('own') }), ['--net=own']],
    [
      'the field instead of a default',
      network({ network: 'NONE' }, { default: ['--network bridge', '--init', '--net=x'] }),
      ['--init', '--network=none'],
    ],
    [
      'what is appended instead of both',
      network(net('own'), { append: ['--network', 'theirs'] }),
      ['--network', 'theirs'],
    ],
    [
      'the field instead of a parameter that is ignored',
      network(net('own'), { ignore: true }),
      ['--network=host'],
    ],
  ];
  for (const [what, found, expected] of networks)
    test(`the network is said once: ${what}`, () => assert.deepEqual(found, expected));

  test('what is appended is instead of the network of the old form too, several of one hand stay', () => {
    const task = taskRequest({ container: { form: 'old', options: ['--net', 'a', '--net=b', '--init'] } });
    const answer = (append: readonly string[]) => {
      const found = taskOptions(task, { ...DEFAULT_CONFIG.options, append });
      assert.ok(found.ok);
      return found.options;
    };
    assert.deepEqual(answer(['--net-alias=c']), ['--net', 'a', '--net=b', '--init', '--net-alias=c']);
    assert.deepEqual(answer(['--network=c']), ['--init', '--network=c']);
  });

  test("the operator's default gives way to the fields", () => {
    const options = of(
      { network: 'BRIDGE', hostname: 'h' },
      { ...DEFAULT_CONFIG.options, default: ['--hostname=default', '--init'] },
    );
    assert.ok(options.ok);
    assert.deepEqual(options.options, ['--hostname=default', '--init', '--network=bridge', '--hostname=h']);
  });

  test('ignored: what it may see and do, not where it runs', () => {
    const options = of(
      { network: 'BRIDGE', privileged: true, volumes: [{ hostPath: '/', containerPath: '/h', mode: 'RW' }] },
      { ...DEFAULT_CONFIG.options, ignore: true },
    );
    assert.ok(options.ok);
    assert.deepEqual([options.options, options.warnings.length], [['--network=bridge'], 1]);
  });

  const refused: readonly (readonly [string, Partial<NewContainer>])[] = [
    ['another type', { type: 'MESOS' }],
    ['a type that is not known', { type: 'unknown' }],
    ['what was found unusable when it was read', { unusable: 'there is something wrong with it' }],
    ['ports without any network', { network: 'NONE', portMappings: [{ hostPort: 31000, containerPort: 1 }] }],
    ['a port beside the offer', { network: 'BRIDGE', portMappings: [{ hostPort: 31010, containerPort: 1 }] }],
    ['what is no port', { network: 'BRIDGE', portMappings: [{ hostPort: 70000, containerPort: 1 }] }],
    [
      'a way out of the sandbox in the middle',
      { volumes: [{ hostPath: 'a/../../x', containerPath: '/y', mode: 'RW' }] },
    ],
    ['a network without a name', { network: 'USER' }],
    ['ports on the network of the host', { portMappings: [{ hostPort: 31000, containerPort: 1 }] }],
    ['a port not offered', { network: 'BRIDGE', portMappings: [{ hostPort: 80, containerPort: 1 }] }],
    [
      'a strange protocol',
      { network: 'BRIDGE', portMappings: [{ hostPort: 31000, containerPort: 1, protocol: 'icmp' }] },
    ],
    ['a hostname on the network of the host', { hostname: 'h' }],
    ['a parameter that is no option', { parameters: [['a b', 'c']] }],
    ['a way out of the sandbox', { volumes: [{ hostPath: '../x', containerPath: '/y', mode: 'RW' }] }],
  ];
  for (const [what, container] of refused) {
    test(`${what} is refused in words`, () => {
      const options = of(container);
      assert.ok(!options.ok);
      assert.match(options.why, /^[^\n]{10,}$/);
    });
  }
});
