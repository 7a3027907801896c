// What of the host has to fit: the slave's options, the service, cron and syslog.

import { accessSync, constants, readdirSync } from 'node:fs';
import { basename } from 'node:path';
import { errnoOf, isFault, oneLine } from '../../fault.ts';
import { runBriefly } from '../../host/brief.ts';
import { readText } from '../../host/kernel-files.ts';
import { levelsInForce } from '../../host/log.ts';
import { processStat } from '../../host/processes.ts';
import { findProgram } from '../../host/programs.ts';
import type { Call } from '../call.ts';
import { type Finding, failure, ok, warning } from './finding.ts';
import { find } from './supervisor.ts';

const BOUND_MS = 5_000;
const OPTIONS = '/etc/mesos-slave';
const CRON_FILE = '/etc/cron.d/deimos';
const UNIT = 'deimos.service';
const UNIT_DIRECTORIES = ['/etc/systemd/system', '/lib/systemd/system', '/usr/lib/systemd/system'];
/** As the kernel has them. */
const SLAVES = /^(?:lt-)?mesos-(?:slave|agent)$/;
const CRONS = /^(?:cron|crond|fcron|systemd-cron)$/;

interface SlaveOptions {
  readonly containerizer_path: string | undefined;
  readonly isolation: string | undefined;
}

/** What a slave that runs was told counts; where none runs, what the next one will read. */
export function mesosSlave(): Finding {
  const running = pidsNamed(SLAVES).map((pid) => ({ pid, options: optionsOf(pid) }));
  const wrong = running.find(({ options }) => lacking(options) !== undefined);
  if (wrong !== undefined)
    return failure(
      `the slave that runs (pid ${wrong.pid}) does not use deimos: ${lacking(wrong.options)}`,
      `set both options in ${OPTIONS} and restart it`,
    );
  const [first] = running;
  if (first !== undefined) return ok(`pid ${first.pid} uses ${first.options.containerizer_path}`);
  const options: SlaveOptions = {
    containerizer_path: readText(`${OPTIONS}/containerizer_path`)?.trim(),
    isolation: readText(`${OPTIONS}/isolation`)?.trim(),
  };
  const why = lacking(options);
  if (why === undefined)
    return warning('its options are right, and none runs', 'start it (`systemctl start mesos-slave`)');
  return failure(
    `its options do not name deimos: ${why}`,
    `write ${options.containerizer_path === undefined ? 'the path of deimos' : 'it'} into ${OPTIONS}/containerizer_path and external into ${OPTIONS}/isolation`,
  );
}

/** In words; undefined where they are right. */
function lacking({ containerizer_path: path, isolation }: SlaveOptions): string | undefined {
  if (path === undefined || path === '') return 'containerizer_path is not set';
  const program = path.split(/\s+/)[0] ?? '';
  if (basename(program) !== 'deimos') return `containerizer_path is ${oneLine(path)}`;
  try {
    accessSync(program, constants.X_OK);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return `${oneLine(program)} cannot be executed (${errnoOf(error)})`;
  }
  return isolation === 'external'
    ? undefined
    : `isolation is ${oneLine(isolation ?? 'not set')}, not external`;
}

/** Of its command line, or of its environment. */
function optionsOf(pid: number): SlaveOptions {
  const words = (readText(`/proc/${pid}/cmdline`) ?? '').split('\0');
  const variables = (readText(`/proc/${pid}/environ`) ?? '').split('\0');
  const option = (name: string): string | undefined =>
    after(words, `--${name}=`) ?? after(variables, `MESOS_${name.toUpperCase()}=`);
  return { containerizer_path: option('containerizer_path'), isolation: option('isolation') };
}

function after(words: readonly string[], begin: string): string | undefined {
  return words.find((word) => word.startsWith(begin))?.slice(begin.length);
}

function pidsNamed(names: RegExp): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => names.test(processStat(pid)?.name ?? ''));
}

/** One that is active may look after another root than the calls ask for, or wait for a supervisor that does not make room. */
export async function service(call: Call): Promise<Finding> {
  const onDemand = 'the supervisor starts on demand';
  if (!isThere('/run/systemd/system')) return ok(`no systemd here: ${onDemand}`);
  if (!UNIT_DIRECTORIES.some((directory) => isThere(`${directory}/${UNIT}`)))
    return ok(`${UNIT} is not installed: ${onDemand}`);
  const show = ['show', '--property=ActiveState,MainPID', UNIT];
  const end = await runBriefly([findProgram('systemctl'), ...show], BOUND_MS);
  const property = (name: string): string | undefined =>
    new RegExp(`^${name}=(.*)$`, 'm').exec(end?.stdout ?? '')?.[1];
  const said = property('ActiveState') ?? 'not to be asked about: systemctl does not answer';
  if (said === 'active') {
    const found = find(call);
    const root = found?.paths.root ?? call.configuredRoot();
    if (found?.pid !== undefined && String(found.pid) === property('MainPID'))
      return ok(`${UNIT} is active, and looks after ${root}`);
    const who = found?.pid === undefined ? 'nobody' : `pid ${found.pid}`;
    return warning(
      `${UNIT} is active, but ${who} looks after ${root}`,
      `\`systemctl restart ${UNIT}\`, which reads the configuration again; see that the slave calls the deimos of that unit`,
    );
  }
  return warning(
    `${UNIT} is ${said}: ${onDemand}, in the cgroup of the slave's unit`,
    `\`systemctl enable --now ${UNIT}\``,
  );
}

export function cron(): Finding {
  const text = readText(CRON_FILE);
  const byHand = 'call `deimos state --rm --older-than 24h` now and then';
  if (text === undefined)
    return warning(`${CRON_FILE} is not there`, `install the package again, or ${byHand}`);
  if (!/^[^#\n]*deimos[^\n]*\bstate\b[^\n]*--rm\b/m.test(text))
    return warning(`${CRON_FILE} removes no states`, byHand);
  if (pidsNamed(CRONS).length > 0) return ok(CRON_FILE);
  return warning('no cron daemon runs', `start one (\`systemctl start cron\`), or ${byHand}`);
}

/** With a line of its own, at DEBUG: nothing else shows that somebody listens. */
export async function syslog(call: Call): Promise<Finding> {
  // As the slave's calls log, and the supervisor.
  const { syslog: level } = levelsInForce(call.lenient().log, false);
  if (level === undefined) return ok('not wanted by [log]');
  let program: string;
  try {
    program = findProgram('logger');
  } catch (error) {
    if (!isFault(error)) throw error;
    return failure(oneLine(error), 'install bsdutils');
  }
  const words = ['--socket-errors=on', '-t', 'deimos', '-p', 'user.debug', 'deimos check'];
  const end = await runBriefly([program, ...words], BOUND_MS);
  if (end?.status === 0) return ok(`/dev/log, from ${level.toUpperCase()} on`);
  const why = end === undefined ? 'it hangs' : (end.stderr.trim().split('\n').at(-1) ?? '');
  return warning(
    `nobody listens at /dev/log (${oneLine(why)})`,
    'start a syslog daemon or journald, or set [log] to what there is',
  );
}

function isThere(path: string): boolean {
  try {
    accessSync(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
}
