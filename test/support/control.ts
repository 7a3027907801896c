// What no log and no terminal may be sent of what others wrote: by name, and as an expression that finds any of it.

/** One of each kind: ends of lines, an escape, DEL, the C1 sequence introducer, line separators, and what turns the writing. */
export const CONTROL = [
  ...['\n', '\r', '\t', '\0', '\b', '\x07', '\x1b', '\x7f', '\x85', '\x9b'],
  ...['\u2028', '\u2029', '\u061c', '\u200e', '\u200f', '\u202a', '\u202e', '\u2066', '\u2069'],
] as const;

export const OBEYED = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u;

/** A window title, colours in both spellings, a second line, and words that are shown the other way round. */
export const HOSTILE =
  'a\x1b]0;owned\x07\x1b[31m\x9b32m\r\nJan 1 00:00:00 deimos[1]: forged\u2028x\u202egnp.exe\u2066';
