import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatUpid, parseUpid } from '../../../src/mesos/upid.ts';

describe('upid', () => {
  it('reads what Mesos writes, and writes it again', () => {
    assert.deepEqual(parseUpid('slave(1)@127.0.0.1:5051'), { name: 'slave(1)', ip: '127.0.0.1', port: 5051 });
    for (const text of ['slave(1)@10.0.0.255:65535', 'deimos-4b1c9e7f22aa@127.0.0.1:45429']) {
      const upid = parseUpid(text);
      assert.ok(upid);
      assert.equal(formatUpid(upid), text);
    }
  });

  it('takes nothing else', () => {
    const bad = [
      '',
      '@0.0.0.0:0',
      'a@0.0.0.0:0',
      'a@127.0.0.1',
      'a@127.0.0.1:65536',
      'a@127.0.0.256:1',
      'a@localhost:1',
      'a b@127.0.0.1:1',
      'a/b@127.0.0.1:1',
      'a@127.0.0.1:1\r\nX: y',
      'a@127.0.0.1:1\n',
    ];
    for (const text of bad) assert.equal(parseUpid(text), undefined, JSON.stringify(text));
  });
});
