// The stand-in slave as a program by itself, for a unit of systemd's in a machine of the tests' own: it takes orders from files
// and writes down what happens, in the directory that it is given. It recovers from its checkpoint like the others.
//
//   node unit-slave.ts <directory>
//
//   <directory>/config.json     SlaveConfig
//   <directory>/orders/<name>   what to do, JSON: a TaskOrder whose task is hex, or { kill, frameworkId }; removed once it is done
//   <directory>/answers/<name>  what came of it
//   <directory>/events          a line of JSON for each SlaveEvent, of all its lives; bytes are hex

import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { Slave } from './slave-core.ts';
import type { FrameworkDescription, SlaveConfig } from './slave-protocol.ts';

const LOOK_MS = 100;

export type UnitOrder =
  | { readonly framework: FrameworkDescription; readonly task: string }
  | { readonly kill: string; readonly frameworkId: string };

const [directory = ''] = process.argv.slice(2);
const [orders, answers, events] = ['orders', 'answers', 'events'].map((name) => join(directory, name)) as [
  string,
  string,
  string,
];
// Written by machine-slave.ts alone, as the orders are.
const config = JSON.parse(readFileSync(join(directory, 'config.json'), 'utf8')) as SlaveConfig;

const slave = new Slave(config, (event) => {
  const withHex = (_: string, value: unknown) =>
    value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
  appendFileSync(events, `${JSON.stringify(event, withHex)}\n`);
});
for (const made of [orders, answers]) mkdirSync(made, { recursive: true });
await slave.start();
writeFileSync(join(directory, 'started'), `${process.pid}\n`);

function carryOut(order: UnitOrder): unknown {
  if ('kill' in order) return slave.killTask(order.frameworkId, order.kill, undefined);
  return slave.run({ framework: order.framework, task: Buffer.from(order.task, 'hex') });
}

setInterval(() => {
  for (const name of readdirSync(orders).filter((one) => !one.endsWith('.new'))) {
    const order = JSON.parse(readFileSync(join(orders, name), 'utf8')) as UnitOrder;
    const answer = JSON.stringify(carryOut(order) ?? null);
    writeFileSync(join(answers, `${name}.new`), answer);
    renameSync(join(answers, `${name}.new`), join(answers, name));
    rmSync(join(orders, name));
  }
}, LOOK_MS);
