// A framework's own executor as it runs inside a container: it registers with the slave that its environment names, says
// of each task that it runs and what it sees, leaves a file in the directory that it was given, finishes and ends.
// Its slave is on the same network.

import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { parseSlaveMessage, registerExecutor, statusUpdate } from '../../src/mesos/executor-messages.ts';
import { ExecutorPort, type SlaveMessage } from '../../src/mesos/executor-port.ts';
import { TaskState } from '../../src/mesos/messages.ts';

const NAME = 'executor(1)';

function variable(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
}

async function main(): Promise<void> {
  const ids = { frameworkId: variable('MESOS_FRAMEWORK_ID'), executorId: variable('MESOS_EXECUTOR_ID') };
  const directory = variable('MESOS_DIRECTORY');
  const [slaveName, slaveAddress = ''] = variable('MESOS_SLAVE_PID').split('@');
  const port = new ExecutorPort();
  await port.listen(0);
  const upid = `${NAME}@127.0.0.1:${port.port}`;

  const post = async (message: string, body: Uint8Array): Promise<void> => {
    const [host, slavePort] = slaveAddress.split(':');
    const headers = { 'Libprocess-From': upid, 'Content-Length': body.byteLength };
    const path = `/${slaveName}/mesos.internal.${message}`;
    await new Promise<void>((resolve, reject) => {
      const posted = request({ host, port: slavePort, path, method: 'POST', headers }, (response) => {
        response.resume();
        response.once('end', () =>
          response.statusCode === 202 ? resolve() : reject(new Error(`${message}: ${response.statusCode}`)),
        );
      });
      posted.once('error', reject);
      posted.end(body);
    });
  };
  const update = async (taskId: string, state: TaskState, message: string): Promise<void> => {
    const facts = { ...ids, slaveId: variable('MESOS_SLAVE_ID'), taskId, state, message, pid: upid };
    const { message: body } = statusUpdate({
      ...facts,
      uuid: randomBytes(16),
      timestampSeconds: Date.now() / 1000,
    });
    await post('StatusUpdateMessage', body);
  };

  const unacknowledged = { count: 0 };
  const receive = async ({ message, body }: SlaveMessage): Promise<void> => {
    const said = parseSlaveMessage(message, body);
    switch (said.type) {
      case 'run-task':
        unacknowledged.count = 2;
        writeFileSync(`${directory}/by-the-executor`, `${said.taskId}\n`);
        await update(said.taskId, TaskState.RUNNING, directory);
        await update(said.taskId, TaskState.FINISHED, process.cwd());
        return;
      case 'acknowledgement':
        unacknowledged.count -= 1;
        if (unacknowledged.count === 0) await port.close();
        return;
      case 'shutdown':
        await port.close();
    }
  };
  port.register(NAME, (message) => void receive(message));
  await post('RegisterExecutorMessage', registerExecutor(ids));
}

void main();
