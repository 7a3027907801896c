// Run by the runtime with the arguments that the executable will start it with:
//
//   code-cache.cjs make <script> <cache> [<warm-up>]    compiles <script> and writes its code cache, with the functions that
//                                                       the calls of a warm-up needed: the JSON that scripts/warm-up.ts gives
//   code-cache.cjs check <script> <cache>               whether such a runtime takes it: the status is 1 if not
'use strict';

const fs = require('node:fs');
const { execFileSync } = require('node:child_process');
const net = require('node:net');
const { basename, dirname, join } = require('node:path');
const { setFlagsFromString } = require('node:v8');
const { Script } = require('node:vm');

/** Of V8, on unless told otherwise. */
const FLAGS = ['flush-bytecode', 'sparkplug', 'maglev', 'opt'];

const ANSWER_MS = 20;

const [what, file, cache, warmup] = process.argv.slice(2);
const text = fs.readFileSync(file, 'latin1');
const filename = `deimos-${basename(file, '.js')}.cjs`;
if (what === 'make') void make();
else {
  const script = new Script(text, { filename, cachedData: fs.readFileSync(cache) });
  process.exitCode = script.cachedDataRejected === false ? 0 : 1;
}

async function make() {
  // What was compiled is to be there in the end, and nothing of what was compiled further, which depends on moments.
  for (const flag of FLAGS) setFlagsFromString(`--no-${flag}`);
  const script = new Script(text, { filename });
  if (warmup !== undefined) await play(script, JSON.parse(warmup));
  // They are part of what a cache is checked by.
  for (const flag of FLAGS) setFlagsFromString(`--${flag}`);
  fs.writeFileSync(cache, script.createCachedData());
}

/** Plays the calls one after the other, each with modules of its own, on the files of `host` instead of this host's. */
async function play(script, { host, supervisorSocket, supervisorRequests, calls }) {
  // What the script does to the process it does to this one.
  const { exit } = process;
  fs.symlinkSync('self', join(host, `proc/${process.pid}`));
  const supervisor = net.createServer((socket) => socket.on('data', () => socket.end('{"ok":true}\n')));
  await new Promise((resolve) => supervisor.listen(join(host, supervisorSocket), resolve));
  const fifo = sayingYes(join(host, supervisorRequests));
  const nothing = fs.openSync('/dev/null', 'r+');
  for (const { words, record } of calls) {
    const input = record === undefined ? nothing : fs.openSync(join(host, record), 'r');
    const moved = fileSystem(host, [input, nothing, nothing]);
    const status = await new Promise((resolve) => {
      process.argv = [process.execPath, process.execPath, ...words];
      let hasBecome = false;
      process.exit = () => resolve(hasBecome ? 0 : process.exitCode);
      process.execve = () => {
        hasBecome = true;
        throw new Error('it does not return');
      };
      const module = { exports: {} };
      const withFiles = (name) => (/^(node:)?fs$/.test(name) ? moved : require(name));
      script.runInThisContext()(module, withFiles);
      module.exports.start();
    });
    if (status !== 0) {
      process.stderr.write(`${words.join(' ')}: status ${status}\n`);
      exit.call(process, 1);
    }
  }
  process.exit = exit;
  process.exitCode = 0;
  supervisor.close();
  fifo.destroy();
}

/** Answers behind the moment at which the caller looks for an answer for the second time. */
function sayingYes(requests) {
  execFileSync('mkfifo', [requests]);
  const fifo = new net.Socket({ fd: fs.openSync(requests, 'r+'), readable: true, writable: false });
  return fifo.on('data', (line) => {
    const { answerIn } = JSON.parse(line);
    setTimeout(() => fs.writeFileSync(join(dirname(requests), answerIn), '{"ok":true}\n'), ANSWER_MS);
  });
}

/** node:fs with absolute paths and the standard streams moved. */
function fileSystem(host, streams) {
  const isOwn = (path) => path.startsWith(host) || path.startsWith('/proc/self/fd');
  const move = (value, at) => {
    if (typeof value === 'string' && value.startsWith('/') && !isOwn(value)) return join(host, value);
    return at === 0 && typeof value === 'number' ? (streams[value] ?? value) : value;
  };
  const functions = Object.entries(fs).filter(([, value]) => typeof value === 'function');
  const moved = functions.map(([name, value]) => [name, (...words) => value.call(fs, ...words.map(move))]);
  return { ...fs, ...Object.fromEntries(moved) };
}
