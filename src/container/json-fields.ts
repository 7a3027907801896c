// Reads a JSON object that a person wrote, field by field: what has another type than it must have, and what nobody asked
// for, is a Fault that names its place (`container.docker.portMappings[0].hostPort`). Pure.
// A value itself is never shown: it may be a secret. null is the same as absent, as those who write such files mean it.

import { Fault } from '../fault.ts';

export interface NumberRange {
  readonly min?: number;
  readonly max?: number;
  /** No fraction. */
  readonly whole?: boolean;
}

export class JsonFields {
  /** '' for the outermost object. */
  readonly path: string;
  readonly #fields: ReadonlyMap<string, unknown>;
  readonly #asked = new Set<string>();

  /** Fault `protocol` if it is no object. */
  constructor(value: unknown, path: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw wrong(path, 'is not an object');
    this.path = path;
    this.#fields = new Map(Object.entries(value));
  }

  /** The place of a field of this object. */
  at(name: string): string {
    const member = /^[A-Za-z_][A-Za-z0-9_-]*$/.test(name) ? name : JSON.stringify(name.slice(0, 80));
    return this.path === '' ? member : `${this.path}.${member}`;
  }

  has(name: string): boolean {
    return this.#fields.get(name) !== undefined && this.#fields.get(name) !== null;
  }

  string(name: string): string | undefined {
    const value = this.#value(name);
    if (value !== undefined && typeof value !== 'string') throw wrong(this.at(name), 'is not a string');
    return value;
  }

  /** One of these words. */
  word<W extends string>(name: string, words: readonly W[]): W | undefined {
    const value = this.string(name);
    const word = words.find((one) => one === value);
    if (value !== undefined && word === undefined)
      throw wrong(this.at(name), `is not one of ${words.join(', ')}`);
    return word;
  }

  boolean(name: string): boolean | undefined {
    const value = this.#value(name);
    if (value !== undefined && typeof value !== 'boolean') throw wrong(this.at(name), 'is not true or false');
    return value;
  }

  number(name: string, range: NumberRange = {}): number | undefined {
    const value = this.#value(name);
    return value === undefined ? undefined : checkedNumber(value, this.at(name), range);
  }

  object(name: string): JsonFields | undefined {
    const value = this.#value(name);
    return value === undefined ? undefined : new JsonFields(value, this.at(name));
  }

  objects(name: string): readonly JsonFields[] | undefined {
    return this.#list(name)?.map((value, i) => new JsonFields(value, `${this.at(name)}[${i}]`));
  }

  strings(name: string): readonly string[] | undefined {
    return this.#list(name)?.map((value, i) => {
      if (typeof value !== 'string') throw wrong(`${this.at(name)}[${i}]`, 'is not a string');
      return value;
    });
  }

  numbers(name: string, range: NumberRange): readonly number[] | undefined {
    return this.#list(name)?.map((value, i) => checkedNumber(value, `${this.at(name)}[${i}]`, range));
  }

  /** An object whose values are all strings, in its order. */
  texts(name: string): readonly (readonly [string, string])[] {
    const fields = this.object(name);
    if (fields === undefined) return [];
    return [...fields.#fields.keys()].map((key) => {
      const text = fields.string(key);
      if (text === undefined) throw wrong(fields.at(key), 'is not a string');
      return [key, text] as const;
    });
  }

  /** Fields that may be there and say nothing here. */
  pass(...names: readonly string[]): void {
    for (const name of names) this.#asked.add(name);
  }

  /** Fault `protocol` for the first field that was neither asked for nor passed. */
  end(): void {
    const unknown = [...this.#fields.keys()].find((name) => !this.#asked.has(name));
    if (unknown !== undefined) throw wrong(this.at(unknown), 'is not a field that is known here');
  }

  #value(name: string): unknown {
    this.#asked.add(name);
    return this.#fields.get(name) ?? undefined;
  }

  #list(name: string): readonly unknown[] | undefined {
    const value = this.#value(name);
    if (value !== undefined && !Array.isArray(value)) throw wrong(this.at(name), 'is not a list');
    return value;
  }
}

/** The Fault for what stands at `path`. */
export function wrong(path: string, what: string): Fault {
  return new Fault('protocol', path === '' ? `the JSON ${what}` : `${path}: ${what}`);
}

function checkedNumber(value: unknown, path: string, { min, max, whole = false }: NumberRange): number {
  const least = min === undefined ? '' : max === undefined ? ` of at least ${min}` : ` from ${min} to ${max}`;
  const fits =
    typeof value === 'number' &&
    Number.isFinite(value) &&
    (!whole || Number.isSafeInteger(value)) &&
    (min === undefined || value >= min) &&
    (max === undefined || value <= max);
  if (!fits) throw wrong(path, `is not a ${whole ? 'whole ' : ''}number${least}`);
  return value;
}
