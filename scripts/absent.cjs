// Stands in the binary for packages that dockerode and docker-modem require but Deimos never reaches: grpc and
// protobufjs (BuildKit sessions) and ssh2 (ssh:// hosts, which Deimos refuses in words). Loading it does nothing;
// using anything of it throws, so that a new way into these packages is noticed at once and not half working.
'use strict';

function absent() {
  throw new Error('deimos is built without BuildKit sessions and without ssh:// hosts');
}

module.exports = new Proxy(absent, { get: (_, name) => (name === '__esModule' ? undefined : absent) });
