// One HTTP health check: a GET to the container's address. Judged by the status alone; no redirect is followed, the body
// is thrown away, and the time limit covers all of it.

import type { ClientRequest, IncomingMessage } from 'node:http';
import { boundedWords, type CheckResult, isFine, type Probe } from '../container/health.ts';
import { errnoOf, Fault, isFault, oneLine } from '../fault.ts';

/** A body is read so far, so that a server can end in peace; then the connection is closed on it. */
const BODY_MAX_BYTES = 64 * 1024;

/** What only this host lacks says nothing about the task. */
const OURS = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'ENOBUFS', 'EADDRNOTAVAIL']);

/** Rejects with the signal's reason when that is aborted. */
export async function checkHttp(
  { port, path, statuses }: Extract<Probe, { kind: 'http' }>,
  address: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<CheckResult> {
  const { request } = await import('node:http');
  const host = address.includes(':') ? `[${address}]` : address;
  const target = `http://${host}:${port}${boundedWords(path)}`;
  const bound = AbortSignal.timeout(timeoutMs);
  let asked: ClientRequest | undefined;
  let status: number | undefined;
  const end = (): void => void asked?.destroy();
  signal.addEventListener('abort', end, { once: true });
  bound.addEventListener('abort', end, { once: true });
  try {
    asked = request({ host: address, port, path, agent: false, headers: { 'User-Agent': 'deimos' } });
    const response = await answerOf(asked);
    status = response.statusCode ?? 0;
    await discard(response);
    if (isFine(statuses, status)) return { kind: 'passed' };
    return { kind: 'failed', why: `GET ${target}: status ${status}` };
  } catch (error) {
    signal.throwIfAborted();
    if (errnoOf(error) === undefined && !isFault(error) && !bound.aborted) throw error;
    const so = status === undefined ? '' : `status ${status}, then `;
    if (bound.aborted)
      return { kind: 'failed', why: `GET ${target}: ${so}no end of the answer within ${timeoutMs / 1000} s` };
    const kind = OURS.has(errnoOf(error) ?? '') ? 'unknown' : 'failed';
    return { kind, why: `GET ${target}: ${so}${boundedWords(oneLine(error))}` };
  } finally {
    signal.removeEventListener('abort', end);
    bound.removeEventListener('abort', end);
    end();
  }
}

async function answerOf(asked: ClientRequest): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  asked.once('response', resolve);
  // Stays: what comes behind the answer would otherwise be thrown at nobody.
  asked.on('error', reject);
  // A change to another protocol, for one.
  asked.once('close', () => reject(new Fault('protocol', 'no answer that could be understood')));
  asked.end();
  return await promise;
}

/** To its end, or as far as one reads what nobody wants. Rejects where it breaks off. */
async function discard(response: IncomingMessage): Promise<void> {
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_MAX_BYTES) return;
  }
}
