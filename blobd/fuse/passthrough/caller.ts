import { isMainThread } from "node:worker_threads";
import { Capability, credentialCalls, ThreadCapabilities } from "../../sys/index.ts";
import type { Settings } from "./config.ts";
import { toHost } from "./id-map.ts";
import { EPERM } from "./linux.ts";

// Linux include/uapi/linux/prctl.h, securebits.h.
const PR_GET_SECUREBITS = 27;
const PR_SET_SECUREBITS = 28;
const CLONE_FS = 0x200;
const SECBIT_NO_SETUID_FIXUP = 1 << 2;
/** No ID: setfsuid(2) answers what is set, and sets nothing. */
const ASK = 0xffff_ffff;

/**
 * Makes the calling thread ready to create files as others. It gets a umask of its own, of none: the kernel on the other
 * side has taken its off already. The main thread's is the whole process's.
 */
export function prepareThread(): void {
  const calls = credentialCalls();
  if (!isMainThread) calls.unshare(CLONE_FS);
  calls.umask(0);
  // Without this the thread loses CAP_DAC_OVERRIDE and its like with each change of user and needs a call more to have
  // them: the caller may have a directory's permission by a supplementary group, of which the request says nothing.
  const bits = calls.prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);
  if (bits >= 0) calls.prctl(PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP, 0, 0, 0);
}

/**
 * On whose behalf a thread's system calls are made. New files are created with the caller's user and group, so that they
 * are the caller's from the start; everything else is done as the daemon, since the kernel on the other side has checked
 * permissions by what it was told of owners and modes.
 *
 * A daemon without CAP_SETUID and CAP_SETGID does everything as itself: all that is created is its user's.
 */
export class Caller {
  /** Whether files can be created as somebody else. */
  readonly canSwitch: boolean;
  readonly #settings: Settings;
  readonly #calls = credentialCalls();
  readonly #capabilities = new ThreadCapabilities();
  readonly #ownUid: number;
  readonly #ownGid: number;
  /** The last user and group by whom the switch was seen to work. */
  #goodUid = ASK;
  #goodGid = ASK;
  #isSwitched = false;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#ownUid = process.geteuid!();
    this.#ownGid = process.getegid!();
    this.canSwitch = this.#capabilities.has(Capability.SETUID) && this.#capabilities.has(Capability.SETGID);
  }

  /**
   * Goes on as the caller, until `leave`.
   * @param uid the guest's
   * @returns 0; -EPERM when the caller has no user or group here
   */
  enter(uid: number, gid: number): number {
    const hostUid = toHost(this.#settings.uidMap, uid);
    const hostGid = toHost(this.#settings.gidMap, gid);
    if (hostUid < 0 || hostGid < 0) return -EPERM;
    if (!this.canSwitch || (hostUid === this.#ownUid && hostGid === this.#ownGid)) return 0;
    this.#isSwitched = true;
    this.#calls.setfsgid(hostGid);
    this.#calls.setfsuid(hostUid);
    if (hostUid === this.#goodUid && hostGid === this.#goodGid) return 0;
    // They say nothing of failing, as for an ID that a user namespace does not have.
    if (this.#calls.setfsuid(ASK) >>> 0 !== hostUid || this.#calls.setfsgid(ASK) >>> 0 !== hostGid) {
      this.leave();
      return -EPERM;
    }
    this.#goodUid = hostUid;
    this.#goodGid = hostGid;
    return 0;
  }

  leave(): void {
    if (!this.#isSwitched) return;
    this.#isSwitched = false;
    this.#calls.setfsuid(this.#ownUid);
    this.#calls.setfsgid(this.#ownGid);
  }

  /** Goes on without CAP_FSETID, so that what is written loses its set-user-ID and set-group-ID bits, until `restore`. */
  dropFsetid(): void {
    if (this.#capabilities.has(Capability.FSETID)) this.#capabilities.suspend(Capability.FSETID);
  }
  restore(): void {
    if (this.#capabilities.has(Capability.FSETID)) this.#capabilities.restore();
  }

  /** Sets the umask of the thread's file system context. */
  umask(mask: number): void {
    this.#calls.umask(mask & 0o777);
  }
}
