// A stand-in slave in a machine of the tests' own, as the unit mesos-slave.service: see unit-slave.ts.

import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { Guest } from './guest.ts';
import { slaveConfig } from './slave.ts';
import type { RunAnswer, SlaveEvent, TerminationSeen, Update } from './slave-protocol.ts';
import type { TaskToRun } from './tasks.ts';
import type { UnitOrder } from './unit-slave.ts';
import { until } from './until.ts';

/** What its machine has to have below /host; `script` is written. In one piece: an emulated machine takes long over many. */
export async function machineSlaveFiles(script: string): Promise<Readonly<Record<string, string>>> {
  await build({
    entryPoints: [fileURLToPath(new URL('unit-slave.ts', import.meta.url))],
    ...{ bundle: true, platform: 'node', target: 'node24', format: 'esm', logLevel: 'warning' },
    outfile: script,
  });
  return { node: process.execPath, 'slave.mjs': script };
}

const DIRECTORY = '/var/lib/slave';
const WORK = '/var/lib/mesos';
const PORT = 5051;
/** Everything is several times slower in a machine that is emulated: so are the slave's patience and ours. */
const SLOW_MS = 90_000;
const SLOWER = 20;

/** As a package of Mesos has it: all that the slave has started goes with it. */
const UNIT = `[Unit]
Description=Stand-in for a Mesos slave
[Service]
ExecStart=/host/node /host/slave.mjs ${DIRECTORY}
KillMode=control-group
[Install]
WantedBy=multi-user.target
`;

export interface MachineTask extends RunAnswer {
  readonly taskId: string;
  readonly frameworkId: string;
}

export class MachineSlave {
  readonly #guest: Guest;
  readonly #id = randomUUID();
  /** What the slave has told, of all its lives. */
  #events: readonly SlaveEvent[] = [];

  constructor(guest: Guest) {
    this.#guest = guest;
  }

  /** Installs the unit and starts it; its containerizer is `program`. */
  async install(program: string): Promise<void> {
    const options = {
      containerizer: program,
      workDirectory: WORK,
      environment: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' },
      reregistrationTimeoutMs: 2_000 * SLOWER,
      shutdownGraceMs: 5_000 * SLOWER,
      leakDescriptors: true,
    };
    const config = slaveConfig(options, { slaveId: `${this.#id}-S0`, port: PORT });
    await this.#guest.sh(`mkdir -p ${DIRECTORY}/orders ${DIRECTORY}/answers ${WORK}
cat >${DIRECTORY}/config.json <<'CONFIG'
${JSON.stringify(config)}
CONFIG
cat >/etc/systemd/system/mesos-slave.service <<'UNIT'
${UNIT}UNIT
systemctl daemon-reload`);
    await this.restart();
  }

  /** Returns when it has recovered. */
  async restart(): Promise<void> {
    await this.#guest.sh(`rm -f ${DIRECTORY}/started
systemctl restart mesos-slave
until [ -e ${DIRECTORY}/started ]; do systemctl -q is-active mesos-slave || exit 1; sleep 0.1; done`);
  }

  async stop(): Promise<void> {
    await this.#guest.sh('systemctl stop mesos-slave');
  }

  async launch(task: TaskToRun): Promise<MachineTask> {
    const framework = {
      id: `${this.#id}-0000`,
      name: 'stand-in',
      user: 'root',
      checkpoint: true,
      capabilities: [],
    };
    const encoded = Buffer.from(task.encode(`${this.#id}-S0`)).toString('hex');
    const answer = await this.#order({ framework, task: encoded });
    // unit-slave.ts answers a task with this.
    return { ...(answer as RunAnswer), taskId: task.taskId, frameworkId: framework.id };
  }

  async kill(task: MachineTask): Promise<void> {
    await this.#order({ kill: task.taskId, frameworkId: task.frameworkId });
  }

  async #order(order: UnitOrder): Promise<unknown> {
    const name = randomUUID();
    const text = await this.#guest.sh(`cd ${DIRECTORY}
printf %s '${JSON.stringify(order)}' >orders/${name}.new && mv orders/${name}.new orders/${name}
until [ -e answers/${name} ]; do systemctl -q is-active mesos-slave || exit 1; sleep 0.1; done
cat answers/${name}`);
    return JSON.parse(text);
  }

  /** What the slave has told up to now. */
  async events(): Promise<readonly SlaveEvent[]> {
    const text = await this.#guest.sh(`cat ${DIRECTORY}/events`);
    // unit-slave.ts writes nothing else; bytes are not asked for here.
    this.#events = text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as SlaveEvent]));
    return this.#events;
  }

  /** What a real slave would have suffered from. */
  async complaints(): Promise<readonly string[]> {
    const events = await this.events();
    return events.flatMap((event) => (event.type === 'violation' ? [event.text] : []));
  }

  async updates(task: MachineTask): Promise<readonly Update[]> {
    const events = await this.events();
    return events.flatMap((event) =>
      event.type === 'update' && event.update.taskId === task.taskId ? [event.update] : [],
    );
  }

  async reached(task: MachineTask, state: number): Promise<Update> {
    return await this.#until(task, async () =>
      (await this.updates(task)).find((update) => update.state === state),
    );
  }

  /** Waits until the slave has forgotten the container; what `wait` answered. */
  async gone(task: MachineTask): Promise<TerminationSeen | undefined> {
    const events = await this.#until(task, async () => {
      const all = await this.events();
      return all.some((event) => event.type === 'gone' && event.containerId === task.containerId) && all;
    });
    return events.flatMap((event) =>
      event.type === 'termination' && event.termination.containerId === task.containerId
        ? [event.termination]
        : [],
    )[0];
  }

  async #until<T>(task: MachineTask, probe: () => Promise<T | undefined | false>): Promise<T> {
    try {
      return await until(task.taskId, probe, { timeoutMs: SLOW_MS, everyMs: 300 });
    } catch (error) {
      const log = await this.#guest.sh(
        'tail -n 60 /run/deimos/supervisor/log; journalctl -b --no-pager -n 60 | cat',
      );
      const told = this.#events.map((event) => JSON.stringify(event).slice(0, 300)).slice(-40);
      throw new Error(`${told.join('\n')}\n${log}`, { cause: error });
    }
  }
}
