// That the tests' registry serves real pulls, and that its throttle makes them as slow as it is told.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { startDockerd } from '../support/dockerd.ts';
import { makeBigImage, makeImages } from '../support/images.ts';
import { startRegistry } from '../support/registry.ts';
import { skipWithoutTools } from '../support/tools.ts';

const skip = await skipWithoutTools();
const MEGABYTE = 1024 * 1024;

describe('a registry of the tests', { skip, timeout: 120_000 }, () => {
  it('serves what was pushed, as fast as can be or as slow as was asked, and not at all when stopped', async () => {
    await using dockerd = await startDockerd();
    const images = await makeImages(dockerd);
    await using registry = await startRegistry(dockerd);
    await makeBigImage(dockerd, 'big:test', 3, 3);
    const direct = await registry.push('big:test', 'some/big');
    assert.equal((await dockerd.outcome(['image', 'inspect', direct])).code, 1, 'push leaves no local name');

    await using throttle = await registry.throttled(MEGABYTE);
    const slow = await dockerd.outcome(['pull', `${throttle.address}/some/big`]);
    assert.equal(slow.code, 0, slow.stderr);
    // 3 MB that cannot be compressed, at 1 MB/s: what has not been let through cannot have arrived.
    assert.ok(slow.durationMs > 2_500, `${slow.durationMs} ms`);
    await dockerd.run(['rmi', '-f', `${throttle.address}/some/big`]);

    assert.equal((await dockerd.outcome(['pull', direct])).code, 0);
    assert.equal(await dockerd.run(['run', '--rm', direct, 'echo', 'pulled']), 'pulled');
    await registry.stop();
    assert.match((await dockerd.outcome(['pull', direct])).stderr, /connection refused/);
    assert.equal(await dockerd.run(['run', '--rm', images.busybox, 'echo', 'here']), 'here');
  });
});
