import { readFileSync } from "node:fs";
import { allocAligned, credentialCalls } from "../../sys/index.ts";

const RLIMIT_NOFILE = 7;
const THIS_PROCESS = 0;

/**
 * Raises the limit of open files as far as this process may: to the kernel's own with CAP_SYS_RESOURCE, else to the hard
 * limit. Beyond it, opening and looking up are answered with EMFILE.
 * @returns the limit
 */
export function raiseFileLimit(): number {
  const { address, bytes } = allocAligned(16);
  const set = (limit: number) => {
    bytes.writeBigUInt64LE(BigInt(limit), 0);
    bytes.writeBigUInt64LE(BigInt(limit), 8);
    return credentialCalls().prlimit(THIS_PROCESS, RLIMIT_NOFILE, address, 0) === 0;
  };
  const most = Number(readFileSync("/proc/sys/fs/nr_open", "latin1"));
  if (set(most)) return most;
  credentialCalls().prlimit(THIS_PROCESS, RLIMIT_NOFILE, 0, address);
  const hard = Number(bytes.readBigUInt64LE(8));
  set(hard);
  return hard;
}
