import { type Failure, RESULT, X86_64_CALLS as SYS, SyscallProgram } from "../../../formats/elf/index.ts";
import { S_IFCHR } from "../../../formats/tree/index.ts";
import { cString, Errno, MountFlag } from "./linux.ts";
import type { GuestProcess } from "./process.ts";

const CLONE_NEWNS = 0x20000;
const CLONE_NEWCGROUP = 0x2000000;
/** Signals 1 to 31 can have been ignored by the shell that starts us; a sigset has 8 bytes. */
const SIGNALS = 31;
const SIG_SETMASK = 2;
const SIGSET_BYTES = 8;
/** struct sigaction of the kernel: handler, flags, restorer, mask. All zero is the default action. */
const DEFAULT_ACTION = new Uint8Array(32);
const TIOCSCTTY = 0x540e;
const O_RDWR_NOCTTY = 0o402;
/** Group `tty`, as the gid of devpts below. */
const TTY_GROUP = 5;
const RLIMIT_NOFILE = 7;
/** What container runtimes give: descriptors enough for servers. */
const OPEN_FILES = 1_048_576;
const AF_INET = 2;
const SOCK_DGRAM = 2;
const SIOCSIFFLAGS = 0x8914;
const IFF_UP = 1;
const O_WRONLY_CREAT_EXCL = 0o301;
/** Minors of major 1. Linux Documentation/admin-guide/devices.txt. */
const MEMORY_DEVICES = { null: 3, zero: 5, full: 7, random: 8, urandom: 9 } as const;
const HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/** A terminal of the guest. Numbers: Linux Documentation/admin-guide/devices.txt. */
export type Terminal = keyof typeof TERMINALS;
const TERMINALS = { hvc0: [229, 0], console: [5, 1] } as const;

export interface EnterOptions {
  /** The terminal that takes the place of descriptors 0 to 2 and controls the session. */
  readonly terminal?: Terminal;
  /** Whether the root cannot be written: programs get folders for temporary files then. */
  readonly readOnly: boolean;
}

/** Exit status when the command could not be started, as docker and shells have it. */
const CANNOT_START = 125;
const CANNOT_EXECUTE = 126;
const NOT_FOUND = 127;

/**
 * The program that turns its process into the image's command: its own session, the image as root, the mounts and the
 * identity a container runtime would give, then exec. It starts in the initramfs, as root, with the command's
 * descriptors 0 to 2 open. A list of system calls with exact bytes as arguments: nothing is quoted, parsed or expanded on
 * the way, and the image needs no shell.
 *
 */
export function enterProgram(process: GuestProcess, { terminal, readOnly }: EnterOptions): Buffer {
  const program = new SyscallProgram();
  resetSignals(program);
  program.call(SYS.setsid, []);
  enterRoot(program);
  mountFilesystems(program, readOnly);
  if (terminal !== undefined) takeTerminal(program, terminal, process.user.uid);
  program.call(SYS.prlimit64, [0, RLIMIT_NOFILE, rlimit(OPEN_FILES), 0]);
  upLoopback(program);
  writeHosts(program);
  program.call(SYS.umask, [0o022]);
  enterDirectory(program, process.cwd);
  takeIdentity(program, process.user);
  execute(program, process);
  return program.build();
}

function resetSignals(program: SyscallProgram): void {
  for (let signal = 1; signal <= SIGNALS; signal++)
    program.call(SYS.rt_sigaction, [signal, DEFAULT_ACTION, 0, SIGSET_BYTES]);
  program.call(SYS.rt_sigprocmask, [SIG_SETMASK, new Uint8Array(SIGSET_BYTES), 0, SIGSET_BYTES]);
}

/** What switch_root does, in a mount namespace of our own: the image's root becomes "/", process 1 keeps its own. */
function enterRoot(program: SyscallProgram): void {
  program.call(SYS.unshare, [CLONE_NEWNS | CLONE_NEWCGROUP], failing("a new mount namespace"));
  program.call(SYS.chdir, [cString("/root")], failing("entering the image"));
  program.call(SYS.mount, [cString("."), cString("/"), 0, MountFlag.MOVE, 0], failing("entering the image"));
  program.call(SYS.chroot, [cString(".")], failing("entering the image"));
  program.call(SYS.chdir, [cString("/")], failing("entering the image"));
}

/** Without these, programs fail in ways that nobody understands; a read-only image may lack the folders. */
const REQUIRED: ReadonlySet<string> = new Set(["/proc", "/sys", "/dev"]);

/** The OCI runtime spec's default file systems and devices (config-linux.md). */
function mountFilesystems(program: SyscallProgram, readOnly: boolean): void {
  const { NOSUID, NODEV, NOEXEC, RELATIME } = MountFlag;
  const mounts: [type: string, target: string, mode: number, flags: number, data: string][] = [
    ["proc", "/proc", 0o555, NOSUID | NODEV | NOEXEC, ""],
    ["sysfs", "/sys", 0o555, NOSUID | NODEV | NOEXEC, ""],
    ["cgroup2", "/sys/fs/cgroup", 0o555, NOSUID | NODEV | NOEXEC | RELATIME, ""],
    ["tmpfs", "/dev", 0o755, NOSUID, "mode=755"],
    ["devpts", "/dev/pts", 0o755, NOSUID | NOEXEC, `newinstance,ptmxmode=0666,mode=0620,gid=${TTY_GROUP}`],
    ["tmpfs", "/dev/shm", 0o1777, NOSUID | NODEV | NOEXEC, "mode=1777"],
    ["mqueue", "/dev/mqueue", 0o755, NOSUID | NODEV | NOEXEC, ""],
  ];
  for (const target of readOnly ? ["/tmp", "/var/tmp", "/run"] : [])
    mounts.push(["tmpfs", target, 0o1777, NOSUID | NODEV, target === "/run" ? "mode=755" : "mode=1777"]);
  for (const [type, target, mode, flags, data] of mounts) {
    program.call(SYS.mkdir, [cString(target), mode]);
    const args = [cString(type), cString(target), cString(type), flags, cString(data)];
    program.call(SYS.mount, args, REQUIRED.has(target) ? failing(`mounting ${target}`) : "ignore");
  }
  program.call(SYS.umask, [0]);
  for (const [name, minor] of Object.entries(MEMORY_DEVICES)) makeDevice(program, name, 1, minor);
  makeDevice(program, "tty", 5, 0);
  const links = {
    ptmx: "pts/ptmx",
    fd: "/proc/self/fd",
    stdin: "/proc/self/fd/0",
    stdout: "/proc/self/fd/1",
    stderr: "/proc/self/fd/2",
  };
  for (const [name, target] of Object.entries(links))
    program.call(SYS.symlink, [cString(target), cString(`/dev/${name}`)]);
}

function makeDevice(program: SyscallProgram, name: string, major: number, minor: number, mode = 0o666): void {
  program.call(SYS.mknod, [cString(`/dev/${name}`), S_IFCHR | mode, (major << 8) | minor]);
}

/** Opened anew in the image's own /dev, so that ttyname(3) finds it there and the command's user may open it again. */
function takeTerminal(program: SyscallProgram, terminal: Terminal, uid: number): void {
  const path = cString(`/dev/${terminal}`);
  const [major, minor] = TERMINALS[terminal];
  makeDevice(program, terminal, major, minor, 0o620);
  program.call(SYS.chown, [path, uid, TTY_GROUP]);
  program.call(SYS.open, [path, O_RDWR_NOCTTY, 0], failing(`opening ${terminal}`));
  for (const fd of [0, 1, 2]) program.call(SYS.dup2, [RESULT, fd]);
  program.call(SYS.close, [RESULT]);
  program.call(SYS.ioctl, [0, TIOCSCTTY, 1]);
}

/** `ip link set lo up` */
function upLoopback(program: SyscallProgram): void {
  // struct ifreq: name in 16 bytes, then flags as a short. netdevice(7).
  const ifreq = Buffer.alloc(40);
  ifreq.write("lo");
  ifreq.writeUInt16LE(IFF_UP, 16);
  program.call(SYS.socket, [AF_INET, SOCK_DGRAM, 0], "keep");
  program.call(SYS.ioctl, [RESULT, SIOCSIFFLAGS, ifreq]);
  program.call(SYS.close, [RESULT]);
}

/** A runtime brings /etc/hosts, so images have none; if one has, it stays. */
function writeHosts(program: SyscallProgram): void {
  const text = Buffer.from(HOSTS);
  program.call(SYS.open, [cString("/etc/hosts"), O_WRONLY_CREAT_EXCL, 0o644], "keep");
  program.call(SYS.write, [RESULT, text, text.length]);
  program.call(SYS.close, [RESULT]);
}

/** The working directory, made when the image does not have it. */
function enterDirectory(program: SyscallProgram, cwd: string): void {
  const parts = cwd.split("/").filter((part) => part !== "");
  for (const [i] of parts.entries()) program.call(SYS.mkdir, [cString(`/${parts.slice(0, i + 1).join("/")}`), 0o755]);
  program.call(SYS.chdir, [cString(cwd)], failing(`the working directory ${cwd}`));
}

function takeIdentity(program: SyscallProgram, { uid, gid, groups }: GuestProcess["user"]): void {
  const list = Buffer.alloc(groups.length * 4);
  for (const [i, group] of groups.entries()) list.writeUInt32LE(group, i * 4);
  program.call(SYS.setgroups, [groups.length, list], failing("setting the groups"));
  program.call(SYS.setresgid, [gid, gid, gid], failing("setting the group"));
  program.call(SYS.setresuid, [uid, uid, uid], failing("setting the user"));
}

/** Tries the command in each folder of PATH, as execvp(3) does: what is absent or not ours to execute is passed over. */
function execute(program: SyscallProgram, { argv, env, searchPath }: GuestProcess): void {
  const [command = ""] = argv;
  const candidates = command.includes("/") ? [command] : searchPath.map((folder) => `${folder}/${command}`);
  const last = candidates.length - 1;
  const table = argv.map(cString);
  const environment = env.map(cString);
  const say = (why: string) => `erofsify: ${command}: ${why}\n`;
  for (const [i, path] of candidates.entries()) {
    const passOver = i < last ? [Errno.ENOENT, Errno.ENOTDIR, Errno.EACCES] : [];
    program.call(SYS.execve, [cString(path), table, environment], {
      passOver,
      failures: [
        { errno: Errno.ENOENT, message: say("no such file or directory in the image"), status: NOT_FOUND },
        { errno: Errno.ENOTDIR, message: say("no such file or directory in the image"), status: NOT_FOUND },
        { errno: Errno.EACCES, message: say("permission denied"), status: CANNOT_EXECUTE },
        { errno: Errno.ENOEXEC, message: say("not a program for this machine"), status: CANNOT_EXECUTE },
        { errno: Errno.E2BIG, message: say("arguments and environment are too long"), status: CANNOT_EXECUTE },
        { message: say("cannot be executed"), status: CANNOT_EXECUTE },
      ],
    });
  }
}

function failing(what: string): Failure[] {
  return [{ message: `erofsify: ${what} failed\n`, status: CANNOT_START }];
}

/** struct rlimit64: soft and hard limit. */
function rlimit(value: number): Uint8Array {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64LE(BigInt(value), 0);
  bytes.writeBigUInt64LE(BigInt(value), 8);
  return bytes;
}
