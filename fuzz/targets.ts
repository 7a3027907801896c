// All that is fuzzed: the parts of Deimos that read what others wrote. Each names the files whose coverage counts, and is
// loaded only where it is played: coverage must be counting before they are.

import type { Target } from './engine/target.ts';

export interface Entry {
  /** From the project's root. */
  readonly sources: readonly string[];
  open(): Promise<Target>;
}

const container = (...names: readonly string[]): string[] => names.map((name) => `src/container/${name}.ts`);

export const TARGETS: Readonly<Record<string, Entry>> = {
  codec: {
    sources: ['src/mesos/codec.ts'],
    open: async () => (await import('./targets/codec.ts')).target(),
  },
  launch: {
    sources: [
      'src/mesos/task-view.ts',
      ...container('identity', 'options', 'image', 'environment', 'uris', 'resources', 'ports'),
    ],
    open: async () => (await import('./targets/launch.ts')).target(),
  },
  'slave-messages': {
    sources: ['src/mesos/executor-messages.ts', 'src/mesos/upid.ts'],
    open: async () => (await import('./targets/slave-messages.ts')).target(),
  },
  framing: {
    sources: ['src/mesos/record.ts'],
    open: async () => (await import('./targets/framing.ts')).target(),
  },
  'http-stream': {
    sources: ['src/mesos/http-stream.ts'],
    open: async () => (await import('./targets/http-stream.ts')).target(),
  },
  configuration: {
    sources: ['ini-text', 'parse', 'values', 'interpolate', 'render', 'root'].map(
      (name) => `src/config/${name}.ts`,
    ),
    open: async () => (await import('./targets/configuration.ts')).target(),
  },
  'image-names': {
    sources: [...container('image'), 'src/host/os-release.ts'],
    open: async () => (await import('./targets/image-names.ts')).target(),
  },
  options: {
    sources: container('options'),
    open: async () => (await import('./targets/options.ts')).target(),
  },
  policy: {
    sources: container('policy', 'policy-images'),
    open: async () => (await import('./targets/policy.ts')).target(),
  },
  'run-line': {
    sources: container('docker-run-line'),
    open: async () => (await import('./targets/run-line.ts')).target(),
  },
  uris: {
    sources: container('uris'),
    open: async () => (await import('./targets/uris.ts')).target(),
  },
  environment: {
    sources: container('environment', 'ports', 'resources'),
    open: async () => (await import('./targets/environment.ts')).target(),
  },
  'registry-login': {
    sources: container('registry-login'),
    open: async () => (await import('./targets/registry-login.ts')).target(),
  },
  marathon: {
    sources: container('marathon', 'marathon-container', 'marathon-ports', 'json-fields'),
    open: async () => (await import('./targets/marathon.ts')).target(),
  },
  'kernel-files': {
    sources: [
      'cgroups',
      'kernel-files',
      'net-counters',
      'processes',
      'tcp-ports',
      'open-files',
      'kernel-log',
    ].map((name) => `src/host/${name}.ts`),
    open: async () => (await import('./targets/kernel-files.ts')).target(),
  },
  'state-files': {
    sources: ['src/state/records.ts', 'src/state/limits.ts', 'src/host/facts.ts', 'src/host/processes.ts'],
    open: async () => (await import('./targets/state-files.ts')).target(),
  },
  'output-journal': {
    sources: ['src/supervisor/output-journal.ts'],
    open: async () => (await import('./targets/output-journal.ts')).target(),
  },
  requests: {
    sources: ['src/supervisor/protocol.ts', ...container('identity')],
    open: async () => (await import('./targets/requests.ts')).target(),
  },
  'docker-output': {
    sources: ['src/docker/frames.ts', 'src/docker/log-parser.ts'],
    open: async () => (await import('./targets/docker-output.ts')).target(),
  },
  'pull-progress': {
    sources: ['src/docker/pull-progress.ts'],
    open: async () => (await import('./targets/pull-progress.ts')).target(),
  },
  'output-join': {
    sources: container('join'),
    open: async () => (await import('./targets/output-join.ts')).target(),
  },
  'shown-text': {
    sources: ['src/fault.ts', 'src/terminal/text.ts', 'src/terminal/table.ts'],
    open: async () => (await import('./targets/shown-text.ts')).target(),
  },
};
