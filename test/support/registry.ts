// A real docker-registry on loopback in a dockerd's own network namespace, where that dockerd reaches it without TLS,
// and proxies in front of it that let only so many bytes through in a second, so that a pull takes the time a test needs.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { outcomeOf, output } from './command.ts';
import { type Dockerd, running, spawnUnderUs, tail } from './dockerd.ts';
import { makeBigImage } from './images.ts';
import { tempDirectory } from './temp.ts';
import { until } from './until.ts';

const REGISTRY = '/usr/bin/docker-registry';
const THROTTLE = fileURLToPath(new URL('throttle-process.ts', import.meta.url));
const STOP_TIMEOUT_MS = 10_000;

export interface Throttle extends AsyncDisposable {
  /** `127.0.0.1:<port>`; an image pushed as R is `<address>/R` through the proxy. */
  readonly address: string;
  /** From now on so many bytes per second for all connections together; 0: nothing more comes through. */
  setRate(bytesPerSecond: number): void;
  /** Breaks every connection. Safe to call twice. */
  stop(): Promise<void>;
}

export interface Registry extends AsyncDisposable {
  readonly address: string;
  /** `user:<password>` in base64, for whoever is to get in; '' where everybody does. */
  readonly auth: string;
  /**
   * Pushes a local image and removes its local names, so that a pull has to fetch those layers that no other local
   * image has. Gives the name to pull: `<address>/<repository>:latest`, or with the tag that `repository` names.
   */
  push(image: string, repository: string): Promise<string>;
  /** A slow way to the same registry. */
  throttled(bytesPerSecond: number): Promise<Throttle>;
  /** SIGKILLs it: connections are refused from now on. Safe to call twice. */
  stop(): Promise<void>;
}

/**
 * Starts one, about 0.2 s. `port` must be free in that namespace; 5000 unless told. With a password only `user` gets in,
 * with that.
 */
export async function startRegistry(dockerd: Dockerd, port = 5000, password?: string): Promise<Registry> {
  const directory = await tempDirectory('rg-');
  const address = `127.0.0.1:${port}`;
  const auth = password === undefined ? '' : Buffer.from(`user:${password}`).toString('base64');
  if (password !== undefined) {
    // It wants bcrypt, which the system's own crypt(3) has.
    const crypt = ['perl', '-e', 'chomp($word = <STDIN>); print crypt($word, shift)'] as const;
    const hash = await output([...crypt, `$2b$05$${'abcdefghijklmnopqrstuu'}`], { input: `${password}\n` });
    await writeFile(directory.at('htpasswd'), `user:${hash}\n`);
  }
  await mkdir(directory.at('cli'));
  await writeFile(directory.at('cli', 'config.json'), JSON.stringify({ auths: { [address]: { auth } } }));
  const configuration = {
    version: 0.1,
    log: { level: 'warn' },
    storage: { filesystem: { rootdirectory: directory.at('storage') }, delete: { enabled: true } },
    http: { addr: address },
    ...(auth === '' ? {} : { auth: { htpasswd: { realm: 'test', path: directory.at('htpasswd') } } }),
  };
  // JSON is YAML.
  await writeFile(directory.at('config.yml'), JSON.stringify(configuration));
  const logFile = directory.at('log');
  const argv = dockerd.inNetns([REGISTRY, 'serve', directory.at('config.yml')]);
  const child = spawnUnderUs(argv, 'KILL', logFile);
  const throttles: Throttle[] = [];
  const freePort = { next: port + 1 };

  const stop = async () => {
    for (const throttle of throttles.splice(0)) await throttle.stop();
    child.kill('SIGKILL');
    await until('registry gone', () => !running(child), { timeoutMs: STOP_TIMEOUT_MS });
    await directory.remove();
  };
  try {
    await until('registry answers', async () => {
      if (!running(child)) throw new Error('docker-registry ended');
      const asked = await outcomeOf(
        dockerd.inNetns(['busybox', 'wget', '-q', '-O', '-', `http://${address}/v2/`]),
      );
      return asked.code === 0 || asked.stderr.includes('401');
    });
  } catch (error) {
    const log = tail(logFile, 20);
    await stop();
    throw new Error(`docker-registry did not start; its log ends:\n${log}`, { cause: error });
  }

  return {
    address,
    auth,
    push: async (image, repository) => {
      const name = `${address}/${repository}${/:[^/]+$/.test(repository) ? '' : ':latest'}`;
      await dockerd.run(['tag', image, name]);
      await dockerd.run(['--config', directory.at('cli'), 'push', '--quiet', name]);
      await dockerd.run(['rmi', '--force', name, image]);
      return name;
    },
    throttled: async (bytesPerSecond) => {
      const listenPort = freePort.next;
      // Taken before anything is waited for: several may be started at once.
      freePort.next += 1;
      const throttle = await startThrottle(dockerd, listenPort, port, bytesPerSecond);
      throttles.push(throttle);
      return throttle;
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** A new image in the registry, and its name by a slow way there. */
export async function makeSlowImage(
  dockerd: Dockerd,
  registry: Registry,
  repository: string,
  how: { readonly megabytes: number; readonly layers?: number; readonly bytesPerSecond: number },
): Promise<{ readonly image: string; readonly throttle: Throttle }> {
  await makeBigImage(dockerd, `local/${repository}`, how.megabytes, how.layers);
  const name = await registry.push(`local/${repository}`, repository);
  const throttle = await registry.throttled(how.bytesPerSecond);
  return { image: name.replace(registry.address, throttle.address), throttle };
}

async function startThrottle(
  dockerd: Dockerd,
  listenPort: number,
  registryPort: number,
  bytesPerSecond: number,
): Promise<Throttle> {
  const [file, ...rest] = dockerd.inNetns([
    process.execPath,
    THROTTLE,
    String(listenPort),
    String(registryPort),
    String(bytesPerSecond),
  ]);
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', file, ...rest], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    detached: true,
  });
  await readyOf(child);
  const stop = async () => {
    child.kill('SIGKILL');
    await until('throttle gone', () => !running(child), { timeoutMs: STOP_TIMEOUT_MS });
  };
  return {
    address: `127.0.0.1:${listenPort}`,
    setRate: (rate) => void child.send(rate),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Until a helper process has said its first word over IPC; rejects if it ends before. */
export async function readyOf(child: ChildProcess): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`${child.spawnargs.join(' ')}: ended with ${code}`)));
    child.once('message', () => resolve());
  });
  child.removeAllListeners('exit');
}
