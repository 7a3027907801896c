// The terminal that stdout is, if it is one: its size, what it can show, and a picture that is drawn over the last one until
// the reader has seen enough.

import { writeSync } from 'node:fs';
import { onExit } from 'signal-exit';
import { errnoOf } from '../fault.ts';

export interface Terminal {
  /** Cells of a line; undefined: no terminal, lines may be of any length. */
  readonly width: number | undefined;
  readonly height: number | undefined;
  readonly colours: boolean;
  /** Its locale's characters are UTF-8. */
  readonly isUtf8: boolean;
}

/** Narrower than anybody reads, or not known yet. */
const WIDTH_MIN = 20;
const WIDTH_UNKNOWN = 80;
const HEIGHT_UNKNOWN = 24;

const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';
const HOME = '\x1b[H';
const REST_OF_LINE = '\x1b[K';
const REST_OF_SCREEN = '\x1b[J';

/** Of stdout, as `environment` describes it: NO_COLOR, TERM, LC_ALL, LC_CTYPE, LANG. */
export function terminalOf(
  stdout: NodeJS.WriteStream,
  environment: Readonly<Record<string, string | undefined>>,
): Terminal {
  const { NO_COLOR, TERM, LC_ALL, LC_CTYPE, LANG } = environment;
  const locale = [LC_ALL, LC_CTYPE, LANG].find((value) => value !== undefined && value !== '') ?? '';
  const isUtf8 = /utf-?8/i.test(locale);
  if (!stdout.isTTY) return { width: undefined, height: undefined, colours: false, isUtf8 };
  return {
    width: stdout.columns > 0 ? Math.max(stdout.columns, WIDTH_MIN) : WIDTH_UNKNOWN,
    height: stdout.rows > 0 ? stdout.rows : HEIGHT_UNKNOWN,
    colours: (NO_COLOR === undefined || NO_COLOR === '') && TERM !== undefined && TERM !== 'dumb',
    isUtf8,
  };
}

/** The whole terminal, until it is disposed of or this process ends: then what stood there before stands there again. */
export class Picture implements Disposable {
  readonly #fd: number;
  readonly #unregister: () => void;
  #isLeft = false;

  constructor(fd: number) {
    this.#fd = fd;
    this.#unregister = onExit(() => this.#leave());
    this.#write(ENTER);
  }

  /** Draws over what was drawn before; what does not fit in `height` lines is not shown. */
  draw(lines: readonly string[], height: number): void {
    const shown = lines.slice(0, height).map((line) => `${line}${REST_OF_LINE}`);
    this.#write(`${HOME}${shown.join('\r\n')}${REST_OF_SCREEN}`);
  }

  [Symbol.dispose](): void {
    this.#unregister();
    this.#leave();
  }

  #leave(): void {
    if (this.#isLeft) return;
    this.#isLeft = true;
    this.#write(LEAVE);
  }

  /** A terminal that is gone, or stopped by its reader, has nobody who would miss it. */
  #write(text: string): void {
    try {
      writeSync(this.#fd, text);
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
    }
  }
}
