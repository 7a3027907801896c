// A process that copies one container's output and nothing else: the part of the supervisor that tests kill.
// argv: socket, container, sandbox, state directory, log driver, `fresh` or `resume`, `tty` or `plain`.
// Prints `open` when the attach is open, then the report as JSON.

import { dockerId } from '../../src/container/identity.ts';
import { dockerOutput } from '../../src/docker/output.ts';
import type { Log } from '../../src/host/log.ts';
import { startCopy } from '../../src/supervisor/output-copy.ts';

const [socket = '', container = '', sandbox = '', stateDir = '', logDriver = '', how, terminal] =
  process.argv.slice(2);
const id = dockerId(container);
if (id === undefined) throw new Error(`no container id: ${container}`);
const silent: Log = { debug: () => {}, info: () => {}, warning: () => {}, error: () => {} };
const tty = terminal === 'tty';
const copy = await startCopy(
  {
    source: dockerOutput({ kind: 'unix', path: socket }, id, tty),
    log: silent,
    signal: new AbortController().signal,
  },
  { stdoutFile: `${sandbox}/stdout`, stderrFile: `${sandbox}/stderr`, stateDir },
  { tty, logDriver, fresh: how === 'fresh' },
);
process.stdout.write('open\n');
process.stdout.write(`${JSON.stringify(await copy.drained)}\n`);
