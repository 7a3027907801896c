// Who listens where, out of a table as /proc has it; what is no address is none.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressIn } from '../../../src/host/tcp-ports.ts';

const row = (address: string, state = '0A'): string =>
  `   0: ${address} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 777 1 0 100 0 0 10 0`;

test('the socket that listens at the port tells the address', () => {
  const table = [row('0200007F:13BC'), row('0300007F:13BB', '01'), row('0100007F:13BB')].join('\n');
  assert.equal(addressIn(table, 5051, new Set(['777'])), '127.0.0.1');
  assert.equal(addressIn(table, 5051, new Set(['778'])), undefined);
});

test('what is no address is none', () => {
  for (const address of ['', '01', '0100007G', '0100007F0'])
    assert.equal(addressIn(row(`${address}:13BB`), 5051, new Set(['777'])), undefined, address);
});
