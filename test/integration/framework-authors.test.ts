// The page for framework authors is what `deimos plan` says: each app on it becomes the line below it, to the word, but for
// the words that the page itself leaves out. The images that it names are made here; its registry is the tests'.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { bootId } from '../../src/host/processes.ts';
import { output } from '../support/command.ts';
import { type Host, startHost } from '../support/host.ts';
import { derive } from '../support/images.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { skipWithoutTools } from '../support/tools.ts';

const PAGE = new URL('../../docs/framework-authors.md', import.meta.url);
/** As the page names them. */
const REGISTRY = 'registry.example.com:5000';
const ROOT = '/tmp/deimos';
const BOOT = '8d9f1c52-6c0e-4b5b-9a53-0e3c5b6a7d10';
const IMAGES = {
  'shop/web:1.4': ['EXPOSE 8080 8443'],
  'shop/tool:2': ['ENTRYPOINT ["tool"]'],
} as const;

interface Example {
  readonly app: string;
  readonly line: string;
}

/** Fenced blocks by their language, in order. */
function blocks(page: string): { readonly language: string; readonly text: string }[] {
  return [...page.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language = '', text = '']) => ({
    language,
    text,
  }));
}

/** Each app with the line that follows it. */
function examplesOf(page: string): Example[] {
  const all = blocks(page).filter(({ language }) => language === 'json' || language === 'sh');
  return all.flatMap(({ language, text }, at) => {
    const next = all[at + 1];
    if (language !== 'json') return [];
    assert.equal(next?.language, 'sh', `no line follows ${text}`);
    return [{ app: text, line: next?.text ?? '' }];
  });
}

const page = readFileSync(PAGE, 'utf8');
const examples = examplesOf(page);
const leftOut = (blocks(page).find(({ language }) => language === 'text')?.text ?? '').trim().split('\n');

describe('the page for framework authors', { skip: await skipWithoutTools() }, () => {
  let host: Host;
  let registry: Registry;
  before(async () => {
    host = await startHost();
    registry = await startRegistry(host.dockerd);
    for (const [name, lines] of Object.entries(IMAGES)) await derive(host.dockerd, name, lines);
    await derive(host.dockerd, 'to-push:1', IMAGES['shop/web:1.4']);
    await registry.push('to-push:1', 'shop/web:1.4');
    for (const tag of ['latest', '1.4'])
      await host.dockerd.run(['tag', 'shop/web:1.4', `${registry.address}/shop/web:${tag}`]);
    await host.dockerd.run(['network', 'create', 'backend']);
  });
  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    await host?.[Symbol.asyncDispose]();
  });

  const asked = new Map<string, Promise<readonly string[]>>();
  /** The words of the line that `plan` shows, under the page's names. */
  const planned = async (app: string): Promise<readonly string[]> => {
    const line = asked.get(app) ?? plan(app);
    asked.set(app, line);
    return await line;
  };
  const plan = async (app: string): Promise<readonly string[]> => {
    const input = app.replaceAll(REGISTRY, registry.address);
    const { code, stdout, stderr } = await host.deimos(['plan'], Buffer.from(input));
    assert.deepEqual([code, stderr], [0, ''], app);
    const line = /^docker run .*$/m.exec(stdout.toString())?.[0] ?? '';
    const named = line.replaceAll(registry.address, REGISTRY).replaceAll(host.root, ROOT);
    return await words(named.replaceAll(bootId(), BOOT));
  };

  it('has many examples, the first in full', async () => {
    assert.ok(examples.length >= 20, `${examples.length} examples`);
    const [first] = examples;
    assert.deepEqual(await planned(first?.app ?? ''), await words(first?.line ?? ''));
  });

  for (const [at, { app, line }] of examples.entries()) {
    if (at === 0) continue;
    it(`is right about ${JSON.parse(app).id}, example ${at}`, async () => {
      assert.deepEqual(without(await planned(app), leftOut), await words(line));
    });
  }

  it('leaves out nothing that the lines do not have', async () => {
    const all = await Promise.all(examples.map(async ({ app }) => await planned(app)));
    for (const one of leftOut)
      assert.ok(
        all.some((line) => without(line, [one]).length < line.length),
        `${one} stands in no line`,
      );
  });
});

/** The line without these options, each of one or two words. */
function without(line: readonly string[], options: readonly string[]): readonly string[] {
  const left: string[] = [];
  for (let at = 0; at < line.length; at++) {
    if (options.includes(`${line[at]} ${line[at + 1]}`)) at++;
    else if (!options.includes(`${line[at]}`)) left.push(`${line[at]}`);
  }
  return left;
}

/** As a shell takes it apart, over several lines too. */
async function words(line: string): Promise<readonly string[]> {
  const text = await output(['sh', '-c', `set -- ${line.trim()}\nfor word; do printf '%s\\0' "$word"; done`]);
  return text.split('\0').slice(0, -1);
}
