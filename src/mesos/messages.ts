// The messages that Deimos exchanges with a Mesos slave, 0.19 – 1.0, as tables for codec.ts: the fields that it reads or
// writes, under the names that Mesos gives them. Other fields pass unread. Tables and constants only.
// No table may lead back to itself: that is what bounds the depth of decoding.

import { type Infer, message } from './codec.ts';

export const TaskState = {
  STARTING: 0,
  RUNNING: 1,
  FINISHED: 2,
  FAILED: 3,
  KILLED: 4,
  LOST: 5,
  STAGING: 6,
  ERROR: 7,
  KILLING: 8,
} as const;
export type TaskState = (typeof TaskState)[keyof typeof TaskState];

/** TaskStatus.Reason, those that we use. */
export const Reason = {
  EXECUTOR_TERMINATED: 1,
  CONTAINER_LIMITATION_MEMORY: 8,
  CONTAINER_LAUNCH_FAILED: 21,
} as const;
export type Reason = (typeof Reason)[keyof typeof Reason];

/** TaskStatus.Source. */
export const Source = { EXECUTOR: 2 } as const;
/** Value.Type, of a Resource. */
export const ValueType = { SCALAR: 0, RANGES: 1, SET: 2 } as const;
/** ContainerInfo.Type. */
export const ContainerType = { DOCKER: 1, MESOS: 2 } as const;
/** DockerInfo.Network; HOST where absent. */
export const Network = { HOST: 1, BRIDGE: 2, NONE: 3, USER: 4 } as const;
/** Volume.Mode. */
export const VolumeMode = { RW: 1, RO: 2 } as const;
/** Volume.Source.Type. */
export const VolumeSourceType = { DOCKER_VOLUME: 1 } as const;
/** NetworkInfo.Protocol. */
export const Protocol = { IPV4: 1 } as const;
/** FrameworkInfo.Capability.Type, the one that we look for. */
export const Capability = { TASK_KILLING_STATE: 2 } as const;

export const ContainerID = message('ContainerID', { value: [1, 'string'] });
export const TaskID = message('TaskID', { value: [1, 'string'] });
export const SlaveID = message('SlaveID', { value: [1, 'string'] });
export const ExecutorID = message('ExecutorID', { value: [1, 'string'] });
export const FrameworkID = message('FrameworkID', { value: [1, 'string'] });

export const DurationInfo = message('DurationInfo', { nanoseconds: [1, 'int64'] });
export const Label = message('Label', { key: [1, 'string'], value: [2, 'string'] });
export const Labels = message('Labels', { labels: [1, Label, 'repeated'] });
export const Parameter = message('Parameter', { key: [1, 'string'], value: [2, 'string'] });
export const Parameters = message('Parameters', { parameter: [1, Parameter, 'repeated'] });

export const Scalar = message('Value.Scalar', { value: [1, 'double'] });
export const Range = message('Value.Range', { begin: [1, 'uint64'], end: [2, 'uint64'] });
export const Ranges = message('Value.Ranges', { range: [1, Range, 'repeated'] });
export const StringSet = message('Value.Set', { item: [1, 'string', 'repeated'] });

export const Resource = message('Resource', {
  name: [1, 'string'],
  type: [2, 'enum'],
  scalar: [3, Scalar],
  ranges: [4, Ranges],
  set: [5, StringSet],
  role: [6, 'string'],
});

export const Uri = message('CommandInfo.URI', {
  value: [1, 'string'],
  executable: [2, 'bool'],
  extract: [3, 'bool'],
  cache: [4, 'bool'],
  output_file: [5, 'string'],
});

export const Variable = message('Environment.Variable', { name: [1, 'string'], value: [2, 'string'] });
export const Environment = message('Environment', { variables: [1, Variable, 'repeated'] });

export const HttpCheck = message('HealthCheck.HTTP', {
  port: [1, 'uint32'],
  path: [2, 'string'],
  statuses: [4, 'uint32', 'repeated'],
});

/** The health check of 0.19, which stands in CommandInfo. */
export const OldHealthCheck = message('CommandInfo.HealthCheck', {
  http: [1, HttpCheck],
  delay_seconds: [2, 'double'],
  interval_seconds: [3, 'double'],
  timeout_seconds: [4, 'double'],
  failures: [5, 'uint32'],
});

/** CommandInfo.ContainerInfo, the old form of ≤ 0.26. */
export const OldContainerInfo = message('CommandInfo.ContainerInfo', {
  image: [1, 'string'],
  options: [2, 'string', 'repeated'],
});

/** Number 6 is `health_check`, a message, in 0.19 and `shell`, a bool, from 0.20 on: the wire type tells which. */
export const CommandInfo = message('CommandInfo', {
  uris: [1, Uri, 'repeated'],
  environment: [2, Environment],
  value: [3, 'string'],
  container: [4, OldContainerInfo],
  user: [5, 'string'],
  health_check: [6, OldHealthCheck],
  shell: [6, 'bool'],
  arguments: [7, 'string', 'repeated'],
});

export const HealthCheck = message('HealthCheck', {
  http: [1, HttpCheck],
  delay_seconds: [2, 'double'],
  interval_seconds: [3, 'double'],
  timeout_seconds: [4, 'double'],
  consecutive_failures: [5, 'uint32'],
  grace_period_seconds: [6, 'double'],
  command: [7, CommandInfo],
});

export const DockerVolume = message('Volume.Source.DockerVolume', {
  driver: [1, 'string'],
  name: [2, 'string'],
  driver_options: [3, Parameters],
});
export const VolumeSource = message('Volume.Source', { type: [1, 'enum'], docker_volume: [2, DockerVolume] });
export const Volume = message('Volume', {
  container_path: [1, 'string'],
  host_path: [2, 'string'],
  mode: [3, 'enum'],
  source: [5, VolumeSource],
});

export const PortMapping = message('DockerInfo.PortMapping', {
  host_port: [1, 'uint32'],
  container_port: [2, 'uint32'],
  protocol: [3, 'string'],
});
export const DockerInfo = message('DockerInfo', {
  image: [1, 'string'],
  network: [2, 'enum'],
  port_mappings: [3, PortMapping, 'repeated'],
  privileged: [4, 'bool'],
  parameters: [5, Parameter, 'repeated'],
  force_pull_image: [6, 'bool'],
  volume_driver: [7, 'string'],
});

export const IpAddress = message('NetworkInfo.IPAddress', {
  protocol: [1, 'enum'],
  ip_address: [2, 'string'],
});
export const NetworkInfo = message('NetworkInfo', {
  ip_address: [2, 'string'],
  ip_addresses: [5, IpAddress, 'repeated'],
  name: [6, 'string'],
});

/** ContainerInfo, the new form of ≥ 0.20. */
export const ContainerInfo = message('ContainerInfo', {
  type: [1, 'enum'],
  volumes: [2, Volume, 'repeated'],
  docker: [3, DockerInfo],
  hostname: [4, 'string'],
  network_infos: [7, NetworkInfo, 'repeated'],
});

export const ExecutorInfo = message('ExecutorInfo', {
  executor_id: [1, ExecutorID],
  data: [4, 'bytes'],
  resources: [5, Resource, 'repeated'],
  command: [7, CommandInfo],
  framework_id: [8, FrameworkID],
  name: [9, 'string'],
  source: [10, 'string'],
  container: [11, ContainerInfo],
  shutdown_grace_period: [13, DurationInfo],
  labels: [14, Labels],
});

export const KillPolicy = message('KillPolicy', { grace_period: [1, DurationInfo] });

export const TaskInfo = message('TaskInfo', {
  name: [1, 'string'],
  task_id: [2, TaskID],
  slave_id: [3, SlaveID],
  resources: [4, Resource, 'repeated'],
  executor: [5, ExecutorInfo],
  data: [6, 'bytes'],
  command: [7, CommandInfo],
  health_check: [8, HealthCheck],
  container: [9, ContainerInfo],
  labels: [10, Labels],
  kill_policy: [12, KillPolicy],
});

// The records of the verbs.

export const Launch = message('Launch', {
  container_id: [1, ContainerID],
  task_info: [2, TaskInfo],
  executor_info: [3, ExecutorInfo],
  directory: [4, 'string'],
  user: [5, 'string'],
  slave_id: [6, SlaveID],
  slave_pid: [7, 'string'],
  checkpoint: [8, 'bool'],
});
export const Wait = message('Wait', { container_id: [1, ContainerID] });
export const Destroy = message('Destroy', { container_id: [1, ContainerID] });
export const Usage = message('Usage', { container_id: [1, ContainerID] });
export const Update = message('Update', {
  container_id: [1, ContainerID],
  resources: [2, Resource, 'repeated'],
});
export const Containers = message('Containers', { containers: [1, ContainerID, 'repeated'] });

/** One record that slaves of every version can read: `killed` and `message` are required up to 0.25, `state` and `reasons` came with 0.26. */
export const Termination = message('Termination', {
  killed: [1, 'bool'],
  message: [2, 'string'],
  status: [3, 'int32'],
  state: [4, 'enum'],
  reasons: [5, 'enum', 'repeated'],
});

export const ResourceStatistics = message('ResourceStatistics', {
  timestamp: [1, 'double'],
  cpus_user_time_secs: [2, 'double'],
  cpus_system_time_secs: [3, 'double'],
  cpus_limit: [4, 'double'],
  mem_rss_bytes: [5, 'uint64'],
  mem_limit_bytes: [6, 'uint64'],
  cpus_nr_periods: [7, 'uint32'],
  cpus_nr_throttled: [8, 'uint32'],
  cpus_throttled_time_secs: [9, 'double'],
  mem_file_bytes: [10, 'uint64'],
  mem_anon_bytes: [11, 'uint64'],
  mem_mapped_file_bytes: [12, 'uint64'],
  net_rx_packets: [14, 'uint64'],
  net_rx_bytes: [15, 'uint64'],
  net_rx_errors: [16, 'uint64'],
  net_rx_dropped: [17, 'uint64'],
  net_tx_packets: [18, 'uint64'],
  net_tx_bytes: [19, 'uint64'],
  net_tx_errors: [20, 'uint64'],
  net_tx_dropped: [21, 'uint64'],
  processes: [30, 'uint32'],
  threads: [31, 'uint32'],
  mem_total_bytes: [36, 'uint64'],
  mem_soft_limit_bytes: [38, 'uint64'],
  mem_cache_bytes: [39, 'uint64'],
  mem_swap_bytes: [40, 'uint64'],
  mem_unevictable_bytes: [41, 'uint64'],
});

// The executor protocol. Where a nested message is passed on as it came or was stored, its field is `bytes`: the same on the wire.

export const ContainerStatus = message('ContainerStatus', { network_infos: [1, NetworkInfo, 'repeated'] });

export const TaskStatus = message('TaskStatus', {
  task_id: [1, TaskID],
  state: [2, 'enum'],
  data: [3, 'bytes'],
  message: [4, 'string'],
  slave_id: [5, SlaveID],
  timestamp: [6, 'double'],
  executor_id: [7, ExecutorID],
  healthy: [8, 'bool'],
  source: [9, 'enum'],
  reason: [10, 'enum'],
  uuid: [11, 'bytes'],
  labels: [12, Labels],
  container_status: [13, ContainerStatus],
});
export const StatusUpdate = message('StatusUpdate', {
  framework_id: [1, FrameworkID],
  executor_id: [2, ExecutorID],
  slave_id: [3, SlaveID],
  status: [4, TaskStatus],
  timestamp: [5, 'double'],
  uuid: [6, 'bytes'],
});

export const RegisterExecutorMessage = message('RegisterExecutorMessage', {
  framework_id: [1, FrameworkID],
  executor_id: [2, ExecutorID],
});
export const ReregisterExecutorMessage = message('ReregisterExecutorMessage', {
  executor_id: [1, ExecutorID],
  framework_id: [2, FrameworkID],
  tasks: [3, 'bytes', 'repeated'],
  updates: [4, 'bytes', 'repeated'],
});
export const StatusUpdateMessage = message('StatusUpdateMessage', {
  update: [1, 'bytes'],
  pid: [2, 'string'],
});

export const FrameworkCapability = message('FrameworkInfo.Capability', { type: [1, 'enum'] });
export const FrameworkInfo = message('FrameworkInfo', {
  user: [1, 'string'],
  name: [2, 'string'],
  id: [3, FrameworkID],
  checkpoint: [5, 'bool'],
  capabilities: [10, FrameworkCapability, 'repeated'],
});
export const SlaveInfo = message('SlaveInfo', {
  hostname: [1, 'string'],
  id: [6, SlaveID],
  checkpoint: [7, 'bool'],
  port: [8, 'int32'],
});
export const ExecutorRegisteredMessage = message('ExecutorRegisteredMessage', {
  executor_info: [2, ExecutorInfo],
  framework_id: [3, FrameworkID],
  framework_info: [4, FrameworkInfo],
  slave_id: [5, SlaveID],
  slave_info: [6, SlaveInfo],
});
export const ExecutorReregisteredMessage = message('ExecutorReregisteredMessage', {
  slave_id: [1, SlaveID],
  slave_info: [2, SlaveInfo],
});
export const RunTaskMessage = message('RunTaskMessage', {
  framework: [2, FrameworkInfo],
  pid: [3, 'string'],
  task: [4, TaskInfo],
});
/** The number of RunTaskMessage.task: its bytes go back to the slave unread. */
export const RUN_TASK_TASK = RunTaskMessage.fields.task[0];
export const KillTaskMessage = message('KillTaskMessage', {
  framework_id: [1, FrameworkID],
  task_id: [2, TaskID],
  kill_policy: [3, KillPolicy],
});
export const StatusUpdateAcknowledgementMessage = message('StatusUpdateAcknowledgementMessage', {
  slave_id: [1, SlaveID],
  framework_id: [2, FrameworkID],
  task_id: [3, TaskID],
  uuid: [4, 'bytes'],
});
export const ReconnectExecutorMessage = message('ReconnectExecutorMessage', { slave_id: [1, SlaveID] });

export type Launch = Infer<typeof Launch>;
export type CommandInfo = Infer<typeof CommandInfo>;
export type ContainerInfo = Infer<typeof ContainerInfo>;
export type HealthCheck = Infer<typeof HealthCheck>;
export type OldHealthCheck = Infer<typeof OldHealthCheck>;
export type Resource = Infer<typeof Resource>;
