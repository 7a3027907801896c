// Addresses of libprocess: `name@ip:port`, the name of a process within a program and where that program listens. Pure.

/** Mesos up to 1.0 knows IPv4 only. */
export interface Upid {
  readonly name: string;
  readonly ip: string;
  readonly port: number;
}

const UPID = /^([^@\s/]{1,255})@(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}):(\d{1,5})$/;

/** undefined for anything that is not an address somebody could be reached at (Mesos writes `@0.0.0.0:0` for nobody). */
export function parseUpid(text: string): Upid | undefined {
  const [, name, ip, digits] = UPID.exec(text) ?? [];
  if (name === undefined || ip === undefined || digits === undefined) return undefined;
  const port = Number(digits);
  if (port === 0 || port > 65_535 || ip.split('.').some((octet) => Number(octet) > 255)) return undefined;
  return { name, ip, port };
}

export function formatUpid({ name, ip, port }: Upid): string {
  return `${name}@${ip}:${port}`;
}
