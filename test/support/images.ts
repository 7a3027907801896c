// Images made on the spot out of busybox-static, since nothing can be pulled from outside: a tar of it, imported.
// `makeImages` makes the usual ones; the others are for tests of pulls. Each dockerd has its own store: make them in each.

import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, symlink, writeFile } from 'node:fs/promises';
import { outcomeOf, output } from './command.ts';
import type { Dockerd } from './dockerd.ts';
import { tempDirectory } from './temp.ts';

const BUSYBOX = '/bin/busybox';

/** What `makeImages` makes. */
export const IMAGES = {
  /** sh and all applets; CMD is `sh`. */
  busybox: 'busybox:test',
  /** EXPOSE 8080/tcp 53/udp 9090. */
  ports: 'busybox-ports:test',
  /** ENTRYPOINT ["echo","entry"], CMD ["default"]. */
  entrypoint: 'busybox-entrypoint:test',
  /** CMD prints `own command` and exits with 7. */
  command: 'busybox-command:test',
} as const;

/** Makes all of IMAGES; about a second. Safe to call twice. */
export async function makeImages(dockerd: Dockerd): Promise<typeof IMAGES> {
  const tar = await busyboxTar();
  await Promise.all([
    importTar(dockerd, tar, IMAGES.busybox, ['CMD ["sh"]']),
    importTar(dockerd, tar, IMAGES.ports, ['EXPOSE 8080/tcp 53/udp 9090', 'CMD ["sh"]']),
    importTar(dockerd, tar, IMAGES.entrypoint, ['ENTRYPOINT ["echo","entry"]', 'CMD ["default"]']),
    importTar(dockerd, tar, IMAGES.command, ['CMD ["sh","-c","echo own command; exit 7"]']),
  ]);
  return IMAGES;
}

/** An image whose one layer is the tar's content; `changes` are Dockerfile lines. Gives its id. */
export async function importTar(
  dockerd: Dockerd,
  tar: Uint8Array,
  name: string,
  changes: readonly string[] = [],
): Promise<string> {
  const options = changes.flatMap((change) => ['--change', change]);
  return await dockerd.run(['import', ...options, '-', name], { input: tar });
}

/** An image on top of another one (busybox unless told): Dockerfile lines after FROM. Gives its id. */
export async function derive(
  dockerd: Dockerd,
  name: string,
  lines: readonly string[],
  from: string = IMAGES.busybox,
): Promise<string> {
  const dockerfile = [`FROM ${from}`, ...lines, ''].join('\n');
  // BuildKit of this age would want to fetch a frontend.
  const env = { ...process.env, DOCKER_BUILDKIT: '0' };
  return await dockerd.run(['build', '--quiet', '--tag', name, '-'], { input: dockerfile, env });
}

/**
 * An image that takes time to pull: busybox and `layers` layers of random bytes (which no registry compresses),
 * `megabytes` in all. Its bytes are new with every call.
 */
export async function makeBigImage(
  dockerd: Dockerd,
  name: string,
  megabytes: number,
  layers = 1,
): Promise<string> {
  await using directory = await tempDirectory('im-');
  const each = Math.ceil((megabytes * 1024 * 1024) / layers);
  const names = Array.from({ length: layers }, (_, at) => `ballast-${at}`);
  for (const file of names) await writeFile(directory.at(file), randomBytes(each));
  const dockerfile = [
    `FROM ${IMAGES.busybox}`,
    ...names.map((file) => `COPY ${file} /${file}`),
    'CMD ["sh"]',
    '',
  ];
  await writeFile(directory.at('Dockerfile'), dockerfile.join('\n'));
  const env = { ...process.env, DOCKER_BUILDKIT: '0' };
  return await dockerd.run(['build', '--quiet', '--tag', name, directory.path], { env });
}

/** A tar of a root directory with busybox and a link for each of its applets. */
export async function busyboxTar(): Promise<Uint8Array> {
  await using directory = await tempDirectory('im-');
  for (const name of ['bin', 'etc', 'root', 'tmp', 'var', 'usr', 'usr/bin']) {
    await mkdir(directory.at('root', name), { recursive: true });
  }
  await copyFile(BUSYBOX, directory.at('root/bin/busybox'));
  const applets = (await output([BUSYBOX, '--list'])).split('\n').filter((name) => name !== 'busybox');
  for (const name of applets) await symlink('busybox', directory.at('root/bin', name));
  await writeFile(
    directory.at('root/etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n',
  );
  await writeFile(directory.at('root/etc/group'), 'root:x:0:\nnogroup:x:65534:\n');
  const argv = [
    'tar',
    '--create',
    '--numeric-owner',
    '--owner=0',
    '--group=0',
    '-C',
    directory.at('root'),
    '.',
  ] as const;
  const made = await outcomeOf(argv);
  if (made.code !== 0) throw new Error(`tar: ${made.stderr}`);
  return made.stdout;
}
