// Archives that are made to reach what lies outside of the sandbox, each through the whole of a launch, with a sandbox of a
// user's and with one of root's, whom no permission holds back: whether the archive is refused or unpacked, nothing outside
// has changed, and what was unpacked has no rights.

import assert from 'node:assert/strict';
import { lstatSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { escapeControl } from '../../src/fault.ts';
import { TaskState } from '../../src/mesos/messages.ts';
import { type Member, paxRecord, tarOf, zipOf } from '../support/archives.ts';
import { type Host, startHost } from '../support/host.ts';
import { IMAGES } from '../support/images.ts';
import type { StandInSlave } from '../support/slave.ts';
import { commandTask } from '../support/tasks.ts';
import { skipWithoutTools } from '../support/tools.ts';
import { Web } from '../support/web.ts';

const skip = await skipWithoutTools();
const { FINISHED, FAILED } = TaskState;
const EVIL = 'evil';
const planted = (name: string): Member => ({ name, content: EVIL });
const SETID = 0o7000;

interface Attack {
  readonly name: string;
  readonly archive: (victim: string) => Buffer;
  readonly kind: 'tar.gz' | 'zip';
  /** Absent: either will do. */
  readonly ends?: number;
  /** What is in the work directory then. */
  readonly files?: readonly string[];
}

const tar = (members: (victim: string) => readonly Member[]) => (victim: string) =>
  gzipSync(tarOf(members(victim)));
const zip = (members: (victim: string) => readonly Member[], maker?: number) => (victim: string) =>
  zipOf(members(victim), maker);

const TARS: readonly (Omit<Attack, 'archive' | 'kind'> & {
  readonly members: (victim: string) => readonly Member[];
})[] = [
  {
    name: 'a hard link to a file outside, and a file of its name',
    members: (victim) => [{ name: 'h', type: 'hardlink', target: `${victim}/file` }, planted('h')],
    ends: FAILED,
  },
  {
    name: 'a hard link to a file further up',
    members: (victim) => [
      { name: 'h', type: 'hardlink', target: `${'../'.repeat(20)}${victim.slice(1)}/file` },
      planted('h'),
    ],
    ends: FAILED,
  },
  {
    name: 'a hard link through a link of the archive',
    members: (victim) => [
      { name: 'd', type: 'symlink', target: victim },
      { name: 'h', type: 'hardlink', target: 'd/file' },
      planted('h'),
    ],
    ends: FAILED,
  },
  {
    name: 'a hard link to a link of the archive, and a file of its name',
    members: (victim) => [
      { name: 's', type: 'symlink', target: `${victim}/file` },
      { name: 'h', type: 'hardlink', target: 's' },
      planted('h'),
    ],
  },
  {
    name: 'a link, and a file of its name',
    members: (victim) => [{ name: 'f', type: 'symlink', target: `${victim}/file` }, planted('f')],
  },
  {
    name: 'links behind each other',
    members: (victim) => [
      { name: 'a', type: 'symlink', target: '.' },
      { name: 'a/b', type: 'symlink', target: '..' },
      { name: 'a/b/c', type: 'symlink', target: victim },
      planted('a/b/c/planted'),
    ],
    ends: FAILED,
  },
  {
    name: 'a name in a pax header that leads out',
    members: () => [{ name: 'pax', type: 'pax', content: paxRecord('path', '../planted') }, planted('ok')],
    ends: FAILED,
  },
  {
    name: 'an absolute name in a pax header',
    members: (victim) => [
      { name: 'pax', type: 'pax', content: paxRecord('path', `${victim}/planted`) },
      planted('ok'),
    ],
    ends: FAILED,
  },
  {
    name: 'a target in a pax header that leads out',
    members: (victim) => [
      { name: 'pax', type: 'pax', content: paxRecord('linkpath', `${victim}/file`) },
      { name: 'h', type: 'hardlink', target: 'ok' },
      planted('h'),
    ],
    ends: FAILED,
  },
  {
    name: 'the name of a file with holes in a pax header that leads out',
    members: () => [
      {
        name: 'pax',
        type: 'pax',
        content: [
          ...[paxRecord('GNU.sparse.major', '1'), paxRecord('GNU.sparse.minor', '0')],
          ...[paxRecord('GNU.sparse.name', '../planted'), paxRecord('GNU.sparse.realsize', '4')],
        ].join(''),
      },
      { name: 'ok', content: `0\n${'\0'.repeat(510)}` },
    ],
    ends: FAILED,
  },
  {
    name: 'a long name that leads out',
    members: () => [{ name: '././@LongLink', type: 'longName', content: '../planted\0' }, planted('ok')],
    ends: FAILED,
  },
  {
    name: 'a long target that leads out',
    members: (victim) => [
      { name: '././@LongLink', type: 'longTarget', content: `${victim}/file\0` },
      { name: 'h', type: 'hardlink', target: 'ok' },
      planted('h'),
    ],
    ends: FAILED,
  },
  {
    name: 'a directory of a backup that wants files renamed',
    members: (victim) => [
      {
        name: 'd/',
        type: 'dumpedDirectory',
        mode: 0o755,
        content: `X${victim}\0R${victim}/file\0Td/file\0\0`,
      },
    ],
  },
  {
    name: 'a name that is too long',
    members: () => [
      { name: '././@LongLink', type: 'longName', content: `${'x'.repeat(300)}\0` },
      planted('ok'),
    ],
    ends: FAILED,
  },
  {
    name: 'names that are options, lines and colours',
    members: () => [
      planted(`--checkpoint-action=exec=touch ${EVIL}`),
      planted('--checkpoint=1'),
      planted('-rf'),
      planted('a\nb'),
      planted('\x1b[31m'),
      planted(`$(touch ${EVIL})`),
    ],
    ends: FINISHED,
  },
  {
    name: 'a FIFO',
    members: () => [{ name: 'fifo', type: 'fifo' }],
    ends: FINISHED,
    files: ['fifo'],
  },
  {
    name: 'programs and directories with the bits of set-user-id, set-group-id and sticky',
    members: () => [
      { name: 'd/', type: 'directory', mode: 0o7777 },
      { name: 'd/program', content: '#!', mode: 0o6777 },
    ],
    ends: FINISHED,
    files: ['d', 'd/program'],
  },
  {
    name: 'a file with a hole of 8 GiB',
    members: () => [{ name: 'sparse', type: 'sparse' }],
  },
];

const ZIPS: typeof TARS = [
  {
    name: 'a link, and a file of its name',
    members: (victim) => [{ name: 'f', type: 'symlink', target: `${victim}/file` }, planted('f')],
  },
  { name: 'a name with a NUL', members: () => [planted('ok\0/../../planted')] },
  { name: 'a name with a line', members: () => [planted('ok\n../planted')] },
  {
    name: 'names that are options',
    members: () => [planted('-d'), planted('--help'), planted('@')],
    ends: FINISHED,
    files: ['--help', '-d', '@'],
  },
  {
    name: 'a program with the bits of set-user-id and set-group-id',
    members: () => [{ name: 'program', content: '#!', mode: 0o6777 }],
    ends: FINISHED,
    files: ['program'],
  },
];

const ATTACKS: readonly Attack[] = [
  ...TARS.map(({ members, ...rest }) => ({ ...rest, kind: 'tar.gz' as const, archive: tar(members) })),
  ...ZIPS.map(({ members, ...rest }) => ({ ...rest, kind: 'zip' as const, archive: zip(members) })),
  { name: 'a name of DOS that leads out', kind: 'zip', archive: zip(() => [planted('..\\..\\planted')], 0) },
  { name: 'a name with backslashes', kind: 'zip', archive: zip(() => [planted('..\\..\\planted')]) },
];

describe('archives that are made to reach outside', { skip, timeout: 280_000 }, () => {
  let host: Host;
  let slave: StandInSlave;
  let web: Web;
  let victim: string;
  before(async () => {
    host = await startHost();
    slave = await host.slave();
    web = new Web();
    await web.start();
    victim = host.directory.at('victim');
    mkdirSync(victim);
    writeFileSync(`${victim}/file`, 'as it was', { mode: 0o600 });
  });
  after(async () => {
    web?.close();
    try {
      assert.deepEqual(await host.leftovers(), []);
      assert.deepEqual(slave.violations, []);
    } finally {
      await host?.[Symbol.asyncDispose]();
    }
  });

  for (const user of ['nobody', 'root'])
    for (const { name, archive, kind, ends, files } of ATTACKS)
      it(`${kind}, ${user}: ${name}`, async () => {
        const path = `/${user}/${kind}/${encodeURIComponent(name)}.${kind}`;
        const uris = [{ value: web.page(path, archive(victim)) }];
        const task = await slave.launch(commandTask({ image: IMAGES.busybox, value: 'true', uris }), {
          user,
        });
        const end = await task.ended(60_000);
        await task.gone();
        const wanted = ends === undefined ? [FINISHED, FAILED] : [ends];
        assert.ok(
          wanted.some((state) => state === end.state),
          `${end.state}: ${end.message}`,
        );
        assert.equal(escapeControl(end.message ?? ''), end.message ?? '');
        assert.deepEqual(readdirSync(victim), ['file']);
        assert.equal(readFileSync(`${victim}/file`, 'utf8'), 'as it was');
        const { nlink, mode, uid } = statSync(`${victim}/file`);
        assert.deepEqual([nlink, mode & 0o7777, uid], [1, 0o600, 0]);
        const inSandbox = readdirSync(task.sandbox);
        assert.ok(
          inSandbox.every((one) => ['fs', 'stderr', 'stdout'].includes(one)),
          `${inSandbox}`,
        );
        const fs = `${task.sandbox}/fs`;
        const found = readdirSync(fs, { recursive: true, encoding: 'utf8' }).sort();
        if (end.state === FAILED) assert.deepEqual(found, [], 'nothing of it is used');
        if (files !== undefined) assert.deepEqual(found, files);
        const owner = statSync(task.sandbox).uid;
        for (const one of found) {
          const stat = lstatSync(`${fs}/${one}`);
          assert.equal(stat.uid, owner, one);
          assert.ok(stat.isSymbolicLink() || (stat.mode & SETID) === 0, `${one} ${stat.mode.toString(8)}`);
          assert.ok(stat.blocks < 1_000, one);
        }
      });
});
