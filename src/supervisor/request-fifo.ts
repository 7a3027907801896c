// The FIFO beside the supervisor's socket (see ask-by-file.ts for who asks): lines come in, each names the file in the
// supervisor's directory that its caller has made for the answer.

import { closeSync, constants, openSync, renameSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { errnoOf, Fault, oneLine } from '../fault.ts';
import { putAside, temporaryName } from '../host/facts.ts';
import type { Log } from '../host/log.ts';
import { findProgram } from '../host/programs.ts';
import { statusOf } from '../host/start.ts';
import { rootPaths } from '../state/layout.ts';
import { type Answer, LINE_BYTES_MAX, parseRequestLine, replyLine } from './protocol.ts';

const { O_NOFOLLOW, O_NONBLOCK, O_RDWR, O_WRONLY } = constants;

/** Questions that are being answered; more wait in the FIFO. */
const AT_ONCE_MAX = 1024;
/** What a caller is told that is to ask over the socket, where it learns why. */
const ELSEWHERE = '{}\n';

export interface RequestFifo {
  /** Leaves its name. */
  close(): void;
}

/** Makes the FIFO of `root`, 0600, and answers what comes. Where there can be none everybody asks over the socket: undefined. */
export async function serveFifo(root: string, answer: Answer, log: Log): Promise<RequestFifo | undefined> {
  const { requests, supervisor } = rootPaths(root);
  let fd: number;
  try {
    fd = await makeFifo(requests);
  } catch (error) {
    log.warning('no FIFO for requests: calls use the socket, which costs them more', {
      error: oneLine(error),
    });
    return undefined;
  }
  const fifo = new Socket({ fd, readable: true, writable: false });
  let underWay = 0;
  let text = '';
  const take = async (line: string): Promise<void> => {
    const asked = parseRequestLine(line);
    underWay += 1;
    if (underWay >= AT_ONCE_MAX) fifo.pause();
    const reply = await answer(asked);
    underWay -= 1;
    fifo.resume();
    if (asked?.answerIn !== undefined)
      writeAnswer(`${supervisor}/${asked.answerIn}`, reply === undefined ? ELSEWHERE : replyLine(reply));
  };
  fifo.setEncoding('utf8');
  fifo.on('data', (piece: string) => {
    const lines = `${text}${piece}`.split('\n');
    text = (lines.pop() ?? '').slice(0, LINE_BYTES_MAX);
    for (const line of lines) void take(line);
  });
  return {
    close: () => void fifo.destroy(),
  };
}

/** Open at both ends: it has no end when the last caller goes, and callers find it open for as long as we live. */
async function makeFifo(path: string): Promise<number> {
  const temporary = temporaryName(path);
  const status = await statusOf('mkfifo', [findProgram('mkfifo'), '-m', '600', temporary], 'ignore');
  if (status !== 0) throw new Fault('host', `mkfifo ended with status ${status}`);
  const fd = openSync(temporary, O_RDWR | O_NONBLOCK | O_NOFOLLOW);
  try {
    putAside(path, (there) => there.isFIFO());
    renameSync(temporary, path);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** A caller that has gone has taken its file along; one whose file cannot be written to asks over the socket. */
function writeAnswer(path: string, line: string): void {
  try {
    const fd = openSync(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK);
    try {
      writeSync(fd, line);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
  }
}
