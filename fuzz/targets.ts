// All that is fuzzed: the parts of Deimos that read what others wrote. Each names the files whose coverage counts, and is
// loaded only where it is played: coverage must be counting before they are.

import { resolve } from 'node:path';

const container = (...names: readonly string[]): string[] => names.map((name) => `src/container/${name}.ts`);

/** Each target's sources, from the project's root. */
export const TARGETS: Readonly<Record<string, readonly string[]>> = {
  codec: ['src/mesos/codec.ts'],
  launch: [
    'src/mesos/task-view.ts',
    ...container('identity', 'options', 'image', 'environment', 'uris', 'resources', 'ports'),
  ],
  'slave-messages': ['src/mesos/executor-messages.ts', 'src/mesos/upid.ts'],
  framing: ['src/mesos/record.ts'],
  'http-stream': ['src/mesos/http-stream.ts'],
  configuration: ['ini-text', 'parse', 'values', 'policy-values', 'interpolate', 'render', 'root'].map(
    (name) => `src/config/${name}.ts`,
  ),
  'image-names': [...container('image'), 'src/host/os-release.ts'],
  options: container('options'),
  policy: container('policy', 'policy-images'),
  'run-line': container('docker-run-line'),
  uris: container('uris'),
  environment: container('environment', 'ports', 'resources'),
  'registry-login': container('registry-login'),
  marathon: container('marathon', 'marathon-container', 'marathon-ports', 'json-fields'),
  'kernel-files': [
    'cgroups',
    'kernel-files',
    'net-counters',
    'processes',
    'tcp-ports',
    'open-files',
    'kernel-log',
  ].map((name) => `src/host/${name}.ts`),
  'state-files': [
    'src/state/records.ts',
    'src/state/limits.ts',
    'src/host/facts.ts',
    'src/host/processes.ts',
  ],
  'output-journal': ['src/supervisor/output-journal.ts'],
  requests: ['src/supervisor/protocol.ts', ...container('identity')],
  'docker-output': ['src/docker/frames.ts', 'src/docker/log-parser.ts'],
  'pull-progress': ['src/docker/pull-progress.ts'],
  'output-join': container('join'),
  'shown-text': ['src/fault.ts', 'src/terminal/text.ts', 'src/terminal/table.ts'],
};

/** The file of a target, which exports it as a function `target`. */
export function moduleOf(name: string): string {
  return resolve(import.meta.dirname, 'targets', `${name}.ts`);
}
