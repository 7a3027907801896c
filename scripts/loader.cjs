// What the executable begins with: takes the script for what it was called with out of it, and runs that. See
// scripts/bundle.ts. A script is compiled from its code cache; should the runtime not take that (it is made and checked when
// the executable is built), it compiles the text, which only takes longer.
'use strict';

const { getRawAsset } = require('node:sea');
const { Script } = require('node:vm');

const CALLS = ['launch', 'wait', 'usage', 'update', 'destroy', 'containers', 'recover'];

/** A call that a command line may be, as far as its first word tells. */
function callOf(words) {
  let at = 0;
  while (words[at] === '--config' || words[at] === '--root') at += 2;
  return CALLS.includes(words[at]) ? words[at] : undefined;
}

function load(name) {
  // The texts are ASCII.
  const text = Buffer.from(getRawAsset(`${name}.js`)).toString('latin1');
  const script = new Script(text, {
    filename: `deimos-${name}.cjs`,
    cachedData: Buffer.from(getRawAsset(`${name}.cache`)),
  });
  const module = { exports: {} };
  script.runInThisContext()(module, require);
  return module.exports;
}

const call = callOf(process.argv.slice(2));
if (call === undefined || !load(call).start()) load('whole').start();
