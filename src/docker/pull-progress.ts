// What the daemon's progress lines say about a pull, in one sentence. No I/O: lines in, words out.

interface Layer {
  readonly status: string;
  readonly currentBytes: number;
  readonly totalBytes: number;
  readonly fetched: boolean;
  readonly done: boolean;
}

/** The first words that a layer is announced with; other lines with an id (the tag's) are not about layers. */
const ANNOUNCED = new Set(['Pulling fs layer', 'Already exists', 'Waiting', 'Downloading']);
const FETCHED = new Set(['Verifying Checksum', 'Download complete', 'Extracting', 'Pull complete']);
const DONE = new Set(['Pull complete', 'Already exists']);
/** More layers than any image has: what comes beyond is not kept. */
const LAYERS_MAX = 1000;

export class PullProgress {
  readonly #image: string;
  readonly #layers = new Map<string, Layer>();
  #lastOther = '';
  #failure: string | undefined;

  constructor(image: string) {
    this.#image = image;
  }

  /** The daemon's words why the pull failed. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** Takes one line of JSON; true if it says something that was not known before. Lines of another form are passed over. */
  take(line: string): boolean {
    const message = parse(line);
    if (message === undefined) return false;
    if (typeof message.error === 'string') {
      this.#failure = message.error;
      return true;
    }
    const { id, status } = message;
    if (typeof status !== 'string') return false;
    if (typeof id !== 'string' || !(this.#layers.has(id) || ANNOUNCED.has(status))) {
      const other = `${typeof id === 'string' ? id : ''} ${status}`;
      const isNew = other !== this.#lastOther;
      this.#lastOther = other;
      return isNew;
    }
    return this.#takeLayer(id, status, message.progressDetail);
  }

  #takeLayer(id: string, status: string, detail: unknown): boolean {
    const before = this.#layers.get(id);
    if (before === undefined && this.#layers.size >= LAYERS_MAX) return false;
    const { current, total } = bytesOf(detail);
    const totalBytes = status === 'Downloading' && total > 0 ? total : (before?.totalBytes ?? 0);
    const fetched = before?.fetched === true || FETCHED.has(status);
    // While it is unpacked the daemon counts again from nothing: downloaded stays downloaded.
    const downloaded = status === 'Downloading' ? current : (before?.currentBytes ?? 0);
    const layer: Layer = {
      status,
      currentBytes: fetched ? totalBytes : downloaded,
      totalBytes,
      fetched,
      done: DONE.has(status),
    };
    this.#layers.set(id, layer);
    if (before === undefined || before.status !== status) return true;
    return status === 'Downloading' ? before.currentBytes !== layer.currentBytes : current > 0;
  }

  /** `Pulling app:1`, then `Pulling app:1: 3 of 7 layers`, with bytes once some are known. */
  words(): string {
    const layers = [...this.#layers.values()];
    if (layers.length === 0) return `Pulling ${this.#image}`;
    const done = layers.filter((layer) => layer.done).length;
    const sum = (of: (layer: Layer) => number): number =>
      layers.reduce((total, layer) => total + of(layer), 0);
    const total = sum((layer) => layer.totalBytes);
    const bytes =
      total === 0 ? '' : `, ${megabytes(sum((layer) => layer.currentBytes))} of ${megabytes(total)} MB`;
    return `Pulling ${this.#image}: ${done} of ${layers.length} layers${bytes}`;
  }
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}

function parse(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return value !== null && typeof value === 'object'
      ? (value as Readonly<Record<string, unknown>>)
      : undefined;
  } catch {
    return undefined;
  }
}

function bytesOf(detail: unknown): { readonly current: number; readonly total: number } {
  const number = (key: string): number => {
    if (detail === null || typeof detail !== 'object' || !(key in detail)) return 0;
    const value: unknown = Object.entries(detail).find(([name]) => name === key)?.[1];
    return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0;
  };
  return { current: number('current'), total: number('total') };
}
