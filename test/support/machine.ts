// A machine of the tests' own: Debian's kernel under qemu with systemd as its init and Docker installed, for what this one
// cannot show (cgroup version 2, units). It has no network. With KVM where that works, else emulated: several times slower.
// It runs scripts that it is given and answers with what they said; it changes nothing that outlives it.

import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { outcomeOf, output } from './command.ts';
import { running, spawnUnderUs, tail } from './dockerd.ts';
import { machineImage } from './machine-image.ts';
import { tempDirectory } from './temp.ts';
import { until } from './until.ts';

const QEMU = 'qemu-system-x86_64';
/** 7 s emulated on an idle machine. */
const BOOT_TIMEOUT_MS = 240_000;
/** 3 s; a KVM that says that it works and does not is found out here. */
const KVM_BOOT_TIMEOUT_MS = 60_000;
const RUN_TIMEOUT_S = 120;
/** What the machine has in hand when its own bound is over: sending the answer. */
const ANSWER_MARGIN_MS = 30_000;
const STOP_TIMEOUT_MS = 10_000;
const MEMORY_MB = 1024;
const CPUS = 2;
/** What an emulator is slow at is left out: programs that look for it choose worse ways. */
const EMULATED_CPU = 'max,la57=off,avx=off,avx2=off';

export interface MachineOptions {
  /** Path below /host in the machine → file or directory here. Read only there. */
  readonly files?: Readonly<Record<string, string>>;
  /** More for the kernel's command line: `systemd.unified_cgroup_hierarchy=0`. */
  readonly kernelArguments?: readonly string[];
  /** Unless told, KVM where it works. */
  readonly accelerator?: 'kvm' | 'tcg';
}

export interface MachineAnswer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Machine extends AsyncDisposable {
  readonly accelerator: 'kvm' | 'tcg';
  /** Runs a script of sh as root: any status is an answer, 137 also stands for one that took longer than `timeoutS`. One at a time. */
  outcome(script: string, timeoutS?: number): Promise<MachineAnswer>;
  /** The same: stdout without the last line end; rejects where the status is not 0. */
  run(script: string, timeoutS?: number): Promise<string>;
  /** Pulls the plug. Safe to call twice. */
  stop(): Promise<void>;
}

/** Whether the processor that KVM offers is one that a kernel for this architecture starts on. */
async function kvmWorks(): Promise<boolean> {
  if (!existsSync('/dev/kvm')) return false;
  const argv = [QEMU, '-accel', 'kvm', '-cpu', 'kvm64,enforce', '-nodefaults', '-display', 'none'] as const;
  const asked = await outcomeOf([...argv, '-S', '-monitor', 'stdio'], { input: 'quit\n' });
  return asked.code === 0;
}

/** Boots one; rejects with the end of its console if its agent does not answer in time. */
export async function startMachine(options: MachineOptions = {}): Promise<Machine> {
  const accelerator = options.accelerator ?? ((await kvmWorks()) ? 'kvm' : 'tcg');
  try {
    return await boot(options, accelerator);
  } catch (error) {
    if (accelerator === 'tcg' || options.accelerator !== undefined) throw error;
    return await boot(options, 'tcg');
  }
}

async function boot(options: MachineOptions, accelerator: 'kvm' | 'tcg'): Promise<Machine> {
  const image = await machineImage();
  const directory = await tempDirectory('vm-');
  const consoleFile = directory.at('console');
  const channel = new Channel();
  const held: { qemu?: ChildProcess } = {};
  const stop = async () => {
    held.qemu?.kill('SIGKILL');
    await until('qemu gone', () => !running(held.qemu), { timeoutMs: STOP_TIMEOUT_MS });
    channel.close();
    await directory.remove();
  };
  try {
    await makeDisk(options.files ?? {}, directory.at('files'), directory.at('files.ext4'));
    await channel.listen(directory.at('port'));
    // Docker with AppArmor would want its parser.
    const always = [
      'console=ttyS0',
      'panic=-1',
      'quiet',
      'systemd.show_status=1',
      'apparmor=0',
      'mitigations=off',
    ];
    const append = [...always, ...(options.kernelArguments ?? [])];
    const acceleration =
      accelerator === 'kvm'
        ? ['-accel', 'kvm', '-cpu', 'host']
        : ['-accel', 'tcg,thread=multi', '-cpu', EMULATED_CPU];
    held.qemu = spawnUnderUs(
      [
        ...[QEMU, '-machine', 'q35', ...acceleration, '-smp', String(CPUS), '-m', String(MEMORY_MB)],
        ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-monitor', 'none'],
        ...['-serial', `file:${consoleFile}`],
        ...['-kernel', image.kernel, '-initrd', image.initrd, '-append', append.join(' ')],
        ...['-drive', `file=${image.disk},if=virtio,format=raw,snapshot=on`],
        ...['-drive', `file=${directory.at('files.ext4')},if=virtio,format=raw,readonly=on`],
        ...['-device', 'virtio-serial', '-chardev', `socket,id=port,path=${directory.at('port')}`],
        ...['-device', 'virtserialport,chardev=port,name=machine,nr=1'],
      ] as [string, ...string[]],
      'KILL',
      directory.at('qemu'),
    );
    const { qemu } = held;
    const timeoutMs = accelerator === 'kvm' ? KVM_BOOT_TIMEOUT_MS : BOOT_TIMEOUT_MS;
    await until(
      'the machine is up',
      () => {
        if (!running(qemu)) throw new Error('qemu ended');
        return channel.takeLine('ready');
      },
      { timeoutMs },
    );
  } catch (error) {
    const words = [tail(directory.at('qemu'), 5), tail(consoleFile, 30)].join('\n');
    await stop();
    throw new Error(`the machine (${accelerator}) did not start:\n${words}`, { cause: error });
  }
  const numbers = { last: 0 };
  const outcome = async (script: string, timeoutS = RUN_TIMEOUT_S): Promise<MachineAnswer> => {
    numbers.last += 1;
    const number = numbers.last;
    channel.send(`${number} ${timeoutS} ${Buffer.from(script).toString('base64')}\n`);
    try {
      return await until(
        'the machine answers',
        () => {
          if (!running(held.qemu)) throw new Error('the machine has ended');
          return channel.takeAnswer(number);
        },
        { timeoutMs: timeoutS * 1000 + ANSWER_MARGIN_MS },
      );
    } catch (error) {
      throw new Error(`${script}\n${tail(consoleFile, 30)}`, { cause: error });
    }
  };
  return {
    accelerator,
    outcome,
    run: async (script, timeoutS) => {
      const { code, stdout, stderr } = await outcome(script, timeoutS);
      if (code !== 0) throw new Error(`status ${code} of\n${script}\n${stdout}\n${stderr}`);
      return stdout.replace(/\n$/, '');
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** A disk with these files, at least with an empty file system. */
async function makeDisk(files: Readonly<Record<string, string>>, tree: string, disk: string): Promise<void> {
  await mkdir(tree);
  for (const [name, from] of Object.entries(files)) await cp(from, `${tree}/${name}`, { recursive: true });
  await output(['mke2fs', '-q', '-t', 'ext4', '-d', tree, disk, '1G']);
}

/** Our end of the machine's serial port: the lines and bytes that its agent sends. */
class Channel {
  readonly #server: Server = createServer((socket) => {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
    });
    socket.on('error', () => {});
  });
  #socket: Socket | undefined;
  #received = Buffer.alloc(0);

  async listen(path: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(path, resolve);
    });
    this.#server.unref();
  }

  send(line: string): void {
    this.#socket?.write(line);
  }

  takeLine(line: string): boolean {
    const end = this.#received.indexOf(10);
    if (end === -1 || this.#received.toString('latin1', 0, end) !== line) return false;
    this.#received = this.#received.subarray(end + 1);
    return true;
  }

  takeAnswer(number: number): MachineAnswer | undefined {
    const end = this.#received.indexOf(10);
    if (end === -1) return undefined;
    const head = this.#received.toString('latin1', 0, end);
    const [of, code = 0, out = 0, err = 0] = head.split(' ').map(Number);
    if (of !== number) throw new Error(`the machine says: ${head}`);
    const body = this.#received.subarray(end + 1);
    if (body.length < out + err) return undefined;
    this.#received = body.subarray(out + err);
    return { code, stdout: body.toString('utf8', 0, out), stderr: body.toString('utf8', out, out + err) };
  }

  close(): void {
    this.#socket?.destroy();
    this.#server.close();
  }
}
