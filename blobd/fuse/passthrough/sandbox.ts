import { closeSync, openSync } from "node:fs";
import { isMainThread } from "node:worker_threads";
import { allocAligned, Capability, check, credentialCalls, SYS_THREAD, ThreadCapabilities } from "../../sys/index.ts";
import { O_DIRECTORY, O_PATH } from "./linux.ts";

// Linux include/uapi/linux/{sched,mount,prctl,seccomp,filter,audit}.h.
const CLONE_NEWNS = 0x20000;
const MS_BIND = 0x1000;
const MS_REC = 0x4000;
const MS_PRIVATE = 0x40000;
const MNT_DETACH = 2;
const PR_SET_SECCOMP = 22;
const PR_SET_NO_NEW_PRIVS = 38;
const SECCOMP_MODE_FILTER = 2;
const BPF_LD_W_ABS = 0x20;
const BPF_JEQ = 0x15;
const BPF_JGE = 0x35;
const BPF_RET = 0x06;
const SECCOMP_RET_ALLOW = 0x7fff_0000;
const SECCOMP_RET_ERRNO_EPERM = 0x0005_0001;
const SECCOMP_RET_KILL_PROCESS = 0x8000_0000;
/** Where `struct seccomp_data` has the system call's number and the machine. */
const SECCOMP_NR = 0;
const SECCOMP_ARCH = 4;
const AUDIT_ARCH = process.arch === "arm64" ? 0xc000_00b7 : 0xc000_003e;
/** x86-64 takes 32-bit pointers' calls by numbers from here on. */
const X32_BIT = 0x4000_0000;

/** What creating and reading files as their owners takes. SYS_ADMIN is not among them: `trusted.*` attributes go. */
const KEPT_CAPABILITIES = [
  Capability.CHOWN,
  Capability.DAC_OVERRIDE,
  Capability.DAC_READ_SEARCH,
  Capability.FOWNER,
  Capability.FSETID,
  Capability.SETGID,
  Capability.SETUID,
  Capability.MKNOD,
  Capability.SETFCAP,
];

/** Calls that no request has a use for, by number: x86-64, arm64. */
const REFUSED_CALLS = {
  x64: {
    socket: 41,
    connect: 42,
    bind: 49,
    listen: 50,
    fork: 57,
    vfork: 58,
    execve: 59,
    ptrace: 101,
    syslog: 103,
    personality: 135,
    pivot_root: 155,
    chroot: 161,
    acct: 163,
    mount: 165,
    umount2: 166,
    swapon: 167,
    reboot: 169,
    sethostname: 170,
    init_module: 175,
    delete_module: 176,
    add_key: 248,
    request_key: 249,
    keyctl: 250,
    unshare: 272,
    perf_event_open: 298,
    setns: 308,
    process_vm_readv: 310,
    process_vm_writev: 311,
    kcmp: 312,
    finit_module: 313,
    bpf: 321,
    execveat: 322,
    userfaultfd: 323,
  },
  arm64: {
    umount2: 39,
    mount: 40,
    pivot_root: 41,
    chroot: 51,
    acct: 89,
    personality: 92,
    unshare: 97,
    kexec_load: 104,
    init_module: 105,
    delete_module: 106,
    syslog: 116,
    ptrace: 117,
    reboot: 142,
    sethostname: 161,
    socket: 198,
    bind: 200,
    listen: 201,
    connect: 203,
    add_key: 217,
    request_key: 218,
    keyctl: 219,
    execve: 221,
    swapon: 224,
    perf_event_open: 241,
    setns: 268,
    process_vm_readv: 270,
    process_vm_writev: 271,
    kcmp: 272,
    finit_module: 273,
    bpf: 280,
    execveat: 281,
    userfaultfd: 282,
  },
  /** The same everywhere: io_uring would go past the filter. */
  both: {
    io_uring_setup: 425,
    io_uring_enter: 426,
    open_tree: 428,
    move_mount: 429,
    fsopen: 430,
    fsmount: 432,
    fspick: 433,
    pidfd_open: 434,
    pidfd_getfd: 438,
    mount_setattr: 442,
  },
} as const;

/**
 * Confines the calling worker thread, for good: it sees the served directory as its root and nothing else, has only the
 * capabilities that it needs, and can neither execute programs nor reach the network, mount, trace or load modules.
 *
 * What this is worth: a mistake in how a request's names are handled finds no other file to reach. It is no wall against
 * code that an attacker runs in the process: all threads share memory, and Node.js has threads from its start, of which
 * only this one is confined (so neither user nor process namespaces can be entered, which a process with one thread may).
 * Who wants the whole process in a box puts it into one: a container, or systemd's settings.
 *
 * Everything that the thread will load must be loaded before; descriptors that are open stay so.
 *
 * @throws Error in the main thread, SysError without CAP_SYS_ADMIN
 */
export function enterSandbox(source: string): void {
  if (isMainThread) throw new Error("the main thread is not confined: its confinement would be that of all");
  const calls = credentialCalls();
  const text = (path: string) => Buffer.from(`${path}\0`);
  check(calls.unshare(CLONE_NEWNS), "unshare");
  check(calls.mount(text("none"), text("/"), text(""), MS_REC | MS_PRIVATE, null), "mount", "/");
  // pivot_root(2) wants a mount point.
  check(calls.mount(text(source), text(source), text(""), MS_BIND | MS_REC, null), "mount", source);
  const root = openSync(source, O_PATH | O_DIRECTORY);
  check(calls.fchdir(root), "fchdir", source);
  closeSync(root);
  check(calls.pivotRoot(SYS_THREAD.pivotRoot, text("."), text(".")), "pivot_root", source);
  check(calls.umount2(text("."), MNT_DETACH), "umount2", "the old root");
  check(calls.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl");
  new ThreadCapabilities().reduce(KEPT_CAPABILITIES);
  filterCalls();
}

/** A seccomp filter: refuses what is in the list, allows all else. */
function filterCalls(): void {
  const refused = Object.values({
    ...(process.arch === "arm64" ? REFUSED_CALLS.arm64 : REFUSED_CALLS.x64),
    ...REFUSED_CALLS.both,
  });
  const program: [code: number, jumpTrue: number, jumpFalse: number, k: number][] = [
    [BPF_LD_W_ABS, 0, 0, SECCOMP_ARCH],
    [BPF_JEQ, 1, 0, AUDIT_ARCH],
    [BPF_RET, 0, 0, SECCOMP_RET_KILL_PROCESS],
    [BPF_LD_W_ABS, 0, 0, SECCOMP_NR],
    [BPF_JGE, refused.length + 1, 0, X32_BIT],
    ...refused.map((call, index): [number, number, number, number] => [BPF_JEQ, refused.length - index, 0, call]),
    [BPF_RET, 0, 0, SECCOMP_RET_ALLOW],
    [BPF_RET, 0, 0, SECCOMP_RET_ERRNO_EPERM],
  ];
  const { address, bytes } = allocAligned(16 + 8 * program.length);
  bytes.writeUInt16LE(program.length, 0);
  bytes.writeBigUInt64LE(BigInt(address + 16), 8);
  for (const [index, [code, jumpTrue, jumpFalse, k]] of program.entries()) {
    const at = 16 + 8 * index;
    bytes.writeUInt16LE(code, at);
    bytes.writeUInt8(jumpTrue, at + 2);
    bytes.writeUInt8(jumpFalse, at + 3);
    bytes.writeUInt32LE(k, at + 4);
  }
  check(credentialCalls().prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, address, 0, 0), "prctl");
}
