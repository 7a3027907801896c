import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  OFFERED_PORTS_MAX,
  offeredPorts,
  pairPorts,
  parseExposedPorts,
} from '../../../src/container/ports.ts';

test('ranges are counted out in the order of the record, each port once', () => {
  assert.deepEqual(
    offeredPorts([
      { begin: 31005, end: 31006 },
      { begin: 31000, end: 31000 },
      { begin: 31006, end: 31007 },
    ]),
    [31005, 31006, 31000, 31007],
  );
  assert.deepEqual(offeredPorts([{ begin: 5, end: 4 }]), []);
  assert.deepEqual(offeredPorts([{ begin: 65534, end: 70000 }]), [65534, 65535]);
  assert.equal(offeredPorts([{ begin: 1, end: 65535 }]).length, OFFERED_PORTS_MAX);
});

test('exposed ports are read as Docker writes them', () => {
  assert.deepEqual(parseExposedPorts(['80', '53/udp', '8000-8002/tcp', 'x/tcp', '70000/tcp', '5/icmp']), [
    { port: 80, protocol: 'tcp' },
    { port: 8000, protocol: 'tcp' },
    { port: 8001, protocol: 'tcp' },
    { port: 8002, protocol: 'tcp' },
    { port: 53, protocol: 'udp' },
  ]);
});

test('an image that exposes all ports a thousand times exposes each once', () => {
  const keys = Array.from({ length: 1000 }, (_, n) => `${n + 1}-65535/tcp`);
  const exposed = parseExposedPorts([...keys, '80', '80/tcp', '9-1']);
  assert.equal(exposed.length, 65535);
  assert.deepEqual(
    [exposed[0], exposed.at(-1)],
    [
      { port: 1, protocol: 'tcp' },
      { port: 65535, protocol: 'tcp' },
    ],
  );
});

test('offered ports in order meet exposed ones by number, then protocol', () => {
  const { pairs, unpaired } = pairPorts(
    [31002, 31000, 31001],
    parseExposedPorts(['9090/tcp', '53/udp', '53/tcp']),
  );
  assert.deepEqual(pairs, [
    { hostPort: 31002, containerPort: 53, protocol: 'tcp' },
    { hostPort: 31000, containerPort: 53, protocol: 'udp' },
    { hostPort: 31001, containerPort: 9090, protocol: 'tcp' },
  ]);
  assert.deepEqual(unpaired, []);
});

test('ports left over lead to themselves, exposed ones left over are told', () => {
  assert.deepEqual(pairPorts([31000, 31001], parseExposedPorts(['80/tcp'])).pairs[1], {
    hostPort: 31001,
    containerPort: 31001,
    protocol: 'tcp',
  });
  assert.deepEqual(pairPorts([31000], parseExposedPorts(['81/tcp', '80/tcp'])).unpaired, [
    { port: 81, protocol: 'tcp' },
  ]);
});

test('every offered port is led somewhere, once and in order; no exposed port is lost', () => {
  const port = fc.integer({ min: 1, max: 65535 });
  fc.assert(
    fc.property(fc.uniqueArray(port), fc.uniqueArray(port), (offered, exposed) => {
      const { pairs, unpaired } = pairPorts(
        offered,
        exposed.map((number) => ({ port: number, protocol: 'tcp' })),
      );
      assert.deepEqual(
        pairs.map((pair) => pair.hostPort),
        offered,
      );
      const reached = pairs.slice(0, exposed.length).map((pair) => pair.containerPort);
      assert.deepEqual(
        [...reached, ...unpaired.map((left) => left.port)],
        [...exposed].sort((a, b) => a - b),
      );
    }),
  );
});
