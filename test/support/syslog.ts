// A real receiver of syslog messages for one test: a unix datagram socket that is /dev/log for the programs of that test
// and for nobody else. They run in a mount namespace with a /dev of its own; the machine's /dev is not touched.
// Node has no unix datagram sockets: perl, which every Debian has, does the receiving.

import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Argv } from './command.ts';
import { running } from './dockerd.ts';
import { tempDirectory } from './temp.ts';
import { until } from './until.ts';

export interface SyslogMessage {
  /** 3 is daemon, 1 is user. */
  readonly facility: number;
  /** 0 emergency … 3 error, 4 warning, 6 info, 7 debug. */
  readonly severity: number;
  /** The program's name, without `[pid]`. */
  readonly tag: string;
  readonly pid: number | undefined;
  readonly text: string;
  /** The whole datagram. */
  readonly raw: string;
}

export interface Syslog extends AsyncDisposable {
  /** All that has arrived so far, in order. */
  readonly messages: readonly SyslogMessage[];
  /** `argv` so that its /dev/log is this receiver. Starts in /, keeps its pid. */
  wrap(argv: Argv): Argv;
  /** Safe to call twice. Programs that run on get ECONNREFUSED from their /dev/log. */
  stop(): Promise<void>;
}

const RECEIVER = `
use Socket;
my ($path) = @ARGV;
socket(my $log, PF_UNIX, SOCK_DGRAM, 0) or die "socket: $!";
bind($log, sockaddr_un($path)) or die "bind $path: $!";
chmod 0666, $path;
$| = 1;
print "ready\\n";
while (1) {
  defined(recv($log, my $message, 65536, 0)) or die "recv: $!";
  print unpack("H*", $message), "\\n";
}
`;

// $1: an empty directory, $2: the socket. A tmpfs gets all that /dev has, by bind mounts, and takes its place.
const NAMESPACE = `
set -e
mount -t tmpfs -o mode=755 deimos-test-dev "$1"
for from in /dev/*; do
  to="$1/\${from#/dev/}"
  if [ "$from" = /dev/log ]; then continue
  elif [ -L "$from" ]; then cp -P "$from" "$to"
  elif [ -d "$from" ]; then mkdir "$to"; mount --rbind "$from" "$to"
  elif [ -c "$from" ]; then : > "$to"; mount --bind "$from" "$to"
  fi
done
ln -s "$2" "$1/log"
mount --move "$1" /dev
echo ready
exec sleep infinity
`;

/** Starts a receiver and its namespace. Needs root. */
export async function startSyslog(): Promise<Syslog> {
  const directory = await tempDirectory('sl-');
  const messages: SyslogMessage[] = [];
  const socket = directory.at('log');
  const children: ChildProcess[] = [];
  const stop = async () => {
    for (const child of children) child.kill('SIGKILL');
    await until('syslog receiver gone', () => !children.some(running));
    await directory.remove();
  };
  const start = async (argv: Argv, onLine: (line: string) => void) => {
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...argv], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.push(child);
    const lines = createInterface({ input: child.stdout });
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code) => reject(new Error(`${argv[0]}: ended with ${code}`)));
      lines.once('line', () => resolve());
    });
    lines.on('line', onLine);
    return child;
  };
  try {
    await start(['perl', '-e', RECEIVER, socket], (line) =>
      messages.push(parse(Buffer.from(line, 'hex').toString())),
    );
    await using empty = await tempDirectory('sd-');
    const holder = await start(
      ['unshare', '--mount', '--propagation', 'slave', '--', 'sh', '-c', NAMESPACE, 'sh', empty.path, socket],
      () => {},
    );
    return {
      messages,
      wrap: (argv) => ['nsenter', `--mount=/proc/${holder.pid}/ns/mnt`, '--', ...argv],
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The form of RFC 3164 that logger(1) writes to a local socket: `<30>Nov 22 09:30:00 tag[123]: text`. */
function parse(raw: string): SyslogMessage {
  const match = /^<(\d+)>(?:\w{3} [ \d]\d \d\d:\d\d:\d\d )?([^:[]*)(?:\[(\d+)\])?: ?([\s\S]*)$/.exec(raw);
  if (match === null) throw new Error(`not a syslog message: ${JSON.stringify(raw)}`);
  const [, priority = '', tag = '', pid, text = ''] = match;
  return {
    facility: Number(priority) >> 3,
    severity: Number(priority) & 7,
    tag,
    pid: pid === undefined ? undefined : Number(pid),
    text,
    raw,
  };
}
