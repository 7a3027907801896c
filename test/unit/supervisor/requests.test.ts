// How a call asks a supervisor, both halves in this process: through the FIFO with an answer in a file, over the socket with the
// same answer, and over the socket whenever the FIFO gives none.

import assert from 'node:assert/strict';
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { describe, it } from 'node:test';
import { mesosContainerId } from '../../../src/container/identity.ts';
import { Fault } from '../../../src/fault.ts';
import type { Log } from '../../../src/host/log.ts';
import { rootPaths } from '../../../src/state/layout.ts';
import { askByFile } from '../../../src/supervisor/ask-by-file.ts';
import { askBySocket } from '../../../src/supervisor/ask-by-socket.ts';
import type { Asked, Request } from '../../../src/supervisor/protocol.ts';
import { requestLine } from '../../../src/supervisor/protocol.ts';
import { type RequestServer, serveRequests } from '../../../src/supervisor/server.ts';
import { output } from '../../support/command.ts';
import { type TempDirectory, tempDirectory } from '../../support/temp.ts';
import { until } from '../../support/until.ts';

const { O_NONBLOCK, O_WRONLY } = constants;
const BY = { version: '1.2.3', records: 1 };
const LONG_MS = 60_000;
const ID = mesosContainerId('a') ?? assert.fail();
const UPDATE: Request = { op: 'update', container: ID };
const ENDLESS = new Promise<void>(() => {});

class Supervisor implements AsyncDisposable {
  readonly asked: Request[] = [];
  readonly told: string[] = [];
  answer: (request: Request) => Promise<void> = async () => {};
  isOurs: (asked: Asked) => boolean = () => true;
  readonly #directory: TempDirectory;
  #server: RequestServer | undefined;
  #starting: Promise<RequestServer> | undefined;

  private constructor(directory: TempDirectory) {
    this.#directory = directory;
  }

  static async start(): Promise<Supervisor> {
    const directory = await tempDirectory();
    mkdirSync(rootPaths(directory.path).supervisor);
    const supervisor = new Supervisor(directory);
    await supervisor.serve();
    return supervisor;
  }

  get root(): string {
    return this.#directory.path;
  }

  get paths(): ReturnType<typeof rootPaths> {
    return rootPaths(this.root);
  }

  /** Names beside the socket and the FIFO. */
  get left(): string[] {
    return readdirSync(this.paths.supervisor).filter((name) => !['socket', 'requests'].includes(name));
  }

  async serve(): Promise<void> {
    const answer = async (request: Request): Promise<void> => {
      this.asked.push(request);
      await this.answer(request);
    };
    const say = (text: string): void => void this.told.push(text);
    const log: Log = { debug: say, info: say, warning: say, error: say };
    this.#starting = serveRequests(this.root, { answer, isOurs: (asked) => this.isOurs(asked) }, log);
    this.#server = await this.#starting;
  }

  close(): void {
    this.#server?.close();
    this.#server = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // One that is being started while a test ends would be left open, and this process with it.
    await this.#starting;
    this.close();
    await this.#directory.remove();
  }
}

describe('a question through the FIFO', { timeout: LONG_MS }, () => {
  it('is answered, and leaves no file; FIFO and socket are for us alone', async () => {
    await using supervisor = await Supervisor.start();
    assert.deepEqual(await askByFile(supervisor.root, UPDATE, BY, LONG_MS), { ok: true });
    assert.deepEqual(supervisor.asked, [UPDATE]);
    assert.deepEqual(supervisor.left, []);
    const { requests, socket } = supervisor.paths;
    assert.deepEqual(
      [requests, socket].map((path) => statSync(path).mode & 0o777),
      [0o600, 0o600],
    );
  });

  it('has the refusal’s words, as over the socket', async () => {
    await using supervisor = await Supervisor.start();
    supervisor.answer = async () => {
      throw new Fault('refused', 'no “more” of it');
    };
    const refused = { ok: false, detail: 'no “more” of it' };
    assert.deepEqual(await askByFile(supervisor.root, UPDATE, BY, LONG_MS), refused);
    assert.deepEqual(await askBySocket(supervisor.root, UPDATE, BY, LONG_MS), refused);
  });

  it('is one of three hundred at once: each has its own answer', async () => {
    await using supervisor = await Supervisor.start();
    supervisor.answer = async (request) => {
      if (!('container' in request)) return;
      await new Promise((resolve) => setTimeout(resolve, request.container.length));
      throw new Fault('refused', request.container);
    };
    const ids = Array.from({ length: 300 }, (_, n) => mesosContainerId(`c${n}`) ?? assert.fail());
    const replies = await Promise.all(
      ids.map((container) => askByFile(supervisor.root, { op: 'run', container }, BY, LONG_MS)),
    );
    assert.deepEqual(
      replies,
      ids.map((detail) => ({ ok: false, detail })),
    );
    assert.deepEqual(supervisor.left, []);
  });

  it('waits in the FIFO where a thousand are being answered, and has its turn', async () => {
    await using supervisor = await Supervisor.start();
    const answered = Promise.withResolvers<void>();
    supervisor.answer = async () => await answered.promise;
    const fifo = openSync(supervisor.paths.requests, O_WRONLY | O_NONBLOCK);
    const line = requestLine(UPDATE, BY);
    let written = 0;
    for (let isFull = false; !isFull; ) {
      try {
        writeSync(fifo, line);
        written += 1;
      } catch (error) {
        assert.match(String(error), /EAGAIN/);
        isFull = supervisor.asked.length >= 1024;
        await new Promise((resolve) => setImmediate(resolve));
      }
      assert.ok(written < 10_000, 'the FIFO never fills');
    }
    closeSync(fifo);
    assert.ok(supervisor.asked.length < written);
    answered.resolve();
    await until('all asked', () => supervisor.asked.length === written);
  });

  it('is heard behind lines that are none, too long ones included', async () => {
    await using supervisor = await Supervisor.start();
    const fifo = openSync(supervisor.paths.requests, O_WRONLY | O_NONBLOCK);
    writeSync(fifo, `\n{}\nnull\n${'x'.repeat(50_000)}\n{"op":"update","container":"../x"}\n`);
    writeSync(fifo, `{"op":"ready","answerIn":"../../etc/passwd"}\n`);
    closeSync(fifo);
    assert.deepEqual(await askByFile(supervisor.root, UPDATE, BY, LONG_MS), { ok: true });
    assert.deepEqual(supervisor.asked, [{ op: 'ready' }, UPDATE]);
    assert.deepEqual(supervisor.left, []);
  });
});

describe('the socket is left to answer', { timeout: LONG_MS }, () => {
  const cases: Readonly<Record<string, (supervisor: Supervisor) => void>> = {
    'where nobody ever made a FIFO': ({ paths }) => rmSync(paths.requests),
    'where nobody reads it any more': (supervisor) => supervisor.close(),
    'where something else has its place': ({ paths }) => {
      rmSync(paths.requests);
      writeFileSync(paths.requests, 'foreign');
    },
    'where its place is a link': ({ paths }) => {
      renameSync(paths.requests, `${paths.requests}-moved`);
      symlinkSync('requests-moved', paths.requests);
    },
    'by a supervisor that makes room': (supervisor) => {
      supervisor.isOurs = () => false;
    },
    'where the answer cannot be put into its file': (supervisor) => {
      supervisor.answer = async () => {
        for (const name of supervisor.left) rmSync(`${supervisor.paths.supervisor}/${name}`);
      };
    },
    'where the next supervisor has come before the answer': (supervisor) => {
      supervisor.answer = async () => {
        supervisor.close();
        supervisor.answer = async () => {};
        await supervisor.serve();
        await ENDLESS;
      };
    },
  };
  for (const [name, prepare] of Object.entries(cases))
    it(name, async () => {
      await using supervisor = await Supervisor.start();
      prepare(supervisor);
      assert.equal(await askByFile(supervisor.root, UPDATE, BY, LONG_MS), undefined);
      assert.deepEqual(
        supervisor.left.filter((left) => left.startsWith('answer')),
        [],
      );
      if (existsSync(supervisor.paths.requests) && statSync(supervisor.paths.requests).isFile())
        assert.equal(readFileSync(supervisor.paths.requests, 'utf8'), 'foreign');
    });

  it('for what takes a container’s time, and when the caller has less time than an answer takes', async () => {
    await using supervisor = await Supervisor.start();
    for (const request of [{ op: 'ready' }, { op: 'destroy', container: ID }] as const)
      assert.equal(await askByFile(supervisor.root, request, BY, LONG_MS), undefined);
    assert.deepEqual(supervisor.asked, []);
    supervisor.answer = async () => await ENDLESS;
    assert.equal(await askByFile(supervisor.root, UPDATE, BY, 10), undefined);
    assert.deepEqual([supervisor.asked, supervisor.left], [[UPDATE], []]);
  });

  it('where there can be no FIFO: the supervisor serves without, and says so', async () => {
    await using supervisor = await Supervisor.start();
    supervisor.close();
    mkdirSync(supervisor.paths.requests);
    // A directory is put aside like anything foreign; a mount is not.
    await output(['mount', '--bind', supervisor.paths.requests, supervisor.paths.requests]);
    try {
      await supervisor.serve();
      assert.match(supervisor.told.join('\n'), /no FIFO/);
      assert.deepEqual(await askBySocket(supervisor.root, UPDATE, BY, LONG_MS), { ok: true });
    } finally {
      await output(['umount', supervisor.paths.requests]);
    }
  });
});

describe('a supervisor that starts or ends', { timeout: LONG_MS }, () => {
  it('takes the place of a dead one’s FIFO, puts a foreign thing aside, and leaves none', async () => {
    await using supervisor = await Supervisor.start();
    supervisor.close();
    assert.equal(existsSync(supervisor.paths.requests), false);
    await output(['mkfifo', supervisor.paths.requests]);
    await supervisor.serve();
    assert.deepEqual(supervisor.left, []);
    supervisor.close();
    writeFileSync(supervisor.paths.requests, 'foreign');
    await supervisor.serve();
    assert.equal(await askByFile(supervisor.root, UPDATE, BY, LONG_MS).then((reply) => reply?.ok), true);
    const [aside = '', ...others] = supervisor.left;
    assert.deepEqual(others, []);
    assert.match(aside, /^requests\.foreign-\d+$/);
    assert.equal(readFileSync(`${supervisor.paths.supervisor}/${aside}`, 'utf8'), 'foreign');
  });
});
