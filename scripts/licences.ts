// Prints the copyright file of the packages: ours, and the licence of everything that the executable is made of.

import { bundledParts, runtimePart } from './parts.ts';

const parts = [{ ...runtimePart('x64'), name: 'Node.js' }, ...(await bundledParts())];
process.stdout.write(`Deimos runs the tasks of an Apache Mesos slave in Docker containers.

Copyright 2026 the Deimos maintainers

Licensed under the Apache License, Version 2.0. On Debian systems its text is in
/usr/share/common-licenses/Apache-2.0.

The executable contains what follows, each under its own licence:

${parts.map(({ name, version, licence }) => `  ${name} ${version} (${licence})`).join('\n')}
${parts.map(({ name, version, text }) => `\n${'-'.repeat(78)}\n${name} ${version}\n\n${text}\n`).join('')}`);
