// What nobody.ts starts as a user without rights. argv: its task, as JSON.

import { connect, createServer } from 'node:net';

export type NobodyTask =
  /** So many connections, held; on each `say`. Prints what comes back, and `closed <count so far>`. */
  | {
      readonly do: 'connect';
      readonly host: string;
      readonly port: number;
      readonly say: string;
      readonly count?: number;
    }
  /** So many connections, 200 at a time, each with the beginning of a request; prints `closed <count>` at the end. */
  | { readonly do: 'flood'; readonly host: string; readonly port: number; readonly count: number }
  /** As `flood`, for ever, with whole requests for names by chance. */
  | { readonly do: 'storm'; readonly host: string; readonly port: number }
  /** Listens as soon as the port is free, accepts, answers 202 to whatever comes, and prints what does. */
  | { readonly do: 'listen'; readonly host: string; readonly port: number };

const AT_ONCE = 200;
const TRY_AGAIN_MS = 2;

const task = JSON.parse(process.argv[2] ?? '') as NobodyTask;
const state = { closed: 0, opened: 0 };
const say = (line: string): void => void process.stdout.write(`${line}\n`);

function open(host: string, port: number, words: string, onClosed: () => void): void {
  state.opened += 1;
  const socket = connect({ host, port });
  socket.on('error', () => {});
  socket.on('connect', () => socket.write(words));
  if (task.do === 'connect') socket.on('data', (piece) => say(String(piece)));
  else socket.resume();
  socket.on('close', () => {
    state.closed += 1;
    onClosed();
  });
}

function guess(): string {
  const name = `deimos-${Math.random().toString(16).slice(2).padEnd(32, '0').slice(0, 32)}`;
  return ['KillTask', 'ShutdownExecutor']
    .map((message) => `POST /${name}/mesos.internal.${message}Message HTTP/1.1\r\nContent-Length: 0\r\n\r\n`)
    .join('')
    .repeat(200);
}

function listen(host: string, port: number): void {
  const server = createServer((socket) => {
    say(`accepted ${socket.remotePort}`);
    socket.on('error', () => {});
    socket.on('data', (piece) => {
      say(piece.toString('latin1'));
      socket.write('HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n');
    });
  });
  server.on('error', () => setTimeout(() => server.listen(port, host), TRY_AGAIN_MS));
  server.on('listening', () => say('listening'));
  server.listen(port, host);
}

say('ready');
if (task.do === 'listen') {
  listen(task.host, task.port);
} else if (task.do === 'connect') {
  for (let n = 0; n < (task.count ?? 1); n += 1)
    open(task.host, task.port, task.say, () => say(`closed ${state.closed}`));
} else {
  const { host, port } = task;
  const count = task.do === 'flood' ? task.count : Number.POSITIVE_INFINITY;
  const next = (): void => {
    if (state.opened < count) open(host, port, task.do === 'flood' ? 'POST /deimos-' : guess(), next);
    else if (state.closed === count) say(`closed ${count}`);
  };
  for (let n = 0; n < AT_ONCE; n += 1) next();
}
