import { type Failure, RESULT, X86_64_CALLS as SYS, SyscallProgram } from "../../../formats/elf/index.ts";
import { cString, MountFlag } from "./linux.ts";

/** Where the initramfs has its script, and its modules. */
export const SUPERVISE_PATH = "/guest/supervise.sh";
export const modulePath = (index: number, name: string) => `/modules/${String(index).padStart(2, "0")}-${name}.ko`;

const O_RDONLY_CLOEXEC = 0o2000000;

/**
 * The guest's /init: mounts the kernel's file systems, loads modules, and becomes the shell that runs supervise.sh. A list of
 * system calls, because a shell would start a program for each of them. What fails is told on the console and ends
 * process 1, and with it the guest.
 *
 * @param modules Paths of modules in the initramfs, in loading order.
 */
export function bootProgram(modules: readonly string[]): Buffer {
  const program = new SyscallProgram();
  const failed = (what: string): Failure[] => [{ message: `erofsify: the guest's /init: ${what} failed\n`, status: 1 }];
  const mount = (type: string, target: string, flags: number, data = "") =>
    program.call(
      SYS.mount,
      [cString(type), cString(target), cString(type), flags, cString(data)],
      failed(`mounting ${type}`),
    );
  const { NOSUID, NODEV, NOEXEC } = MountFlag;
  mount("proc", "/proc", NOSUID | NODEV | NOEXEC);
  mount("sysfs", "/sys", NOSUID | NODEV | NOEXEC);
  mount("devtmpfs", "/dev", NOSUID);
  mount("tmpfs", "/rw", 0, "mode=755");
  for (const path of ["/rw/upper", "/rw/work"]) program.call(SYS.mkdir, [cString(path), 0o755]);
  mount("cgroup2", "/cgroup", NOSUID | NODEV | NOEXEC);
  program.call(SYS.mkdir, [cString("/cgroup/guest"), 0o755]);
  for (const path of modules)
    program
      .call(SYS.open, [cString(path), O_RDONLY_CLOEXEC, 0], failed(`opening ${path}`))
      .call(SYS.finit_module, [RESULT, cString(""), 0], failed(`loading ${path}`));
  const argv = ["sh", SUPERVISE_PATH].map(cString);
  program.call(SYS.execve, [cString("/bin/busybox"), argv, ["PATH=/bin"].map(cString)], failed("starting busybox"));
  return program.build();
}
