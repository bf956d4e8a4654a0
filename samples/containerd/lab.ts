import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type RunResult, run, type Server, startServer } from "../../builder/testkit/index.ts";
import { type ContainerdVersion, containerdConfig, SNAPSHOTTER } from "./config.ts";

/** This file is dist/samples/containerd/lab.js when it runs. */
const REPOSITORY = fileURLToPath(new URL("../../..", import.meta.url));
const LAB = join(REPOSITORY, "samples/lab");
const PROGRAM = join(REPOSITORY, "dist/blobd/cli/main.js");
/** Libraries that node and our native calls want and the lab need not have; glibc is the lab's. */
const LIBRARIES = ["libstdc++.so.6", "libgcc_s.so.1", "libisal.so.2", "libzstd.so.1"];
const LIBRARY_FOLDERS = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];

/** A command, to be measured or run. */
export interface LabCommand {
  readonly command: string;
  readonly args: readonly string[];
}

export interface LabOptions {
  /** Directory to keep the state under, on the disk that counts. */
  readonly parent?: string;
  readonly version?: ContainerdVersion;
  /** See ContainerdConfig. */
  readonly sandboxImage?: string;
  /** Options of the snapshotter besides. */
  readonly snapshotter?: readonly string[];
}

/**
 * A containerd of the lab, 2.1 or Debian's 1.7, with our snapshotter beside its own, in a mount namespace of their own and
 * with a state of their own. Either may be killed and started again. Needs root.
 */
export class ContainerdLab {
  readonly directory: string;
  #containerd: Server | null = null;
  #snapshotter: Server | null = null;
  #serve: Server | null = null;
  /** A process that keeps the namespace when containerd is gone. */
  #keeper: Server;

  readonly #options: readonly string[];

  private constructor(directory: string, keeper: Server, options: readonly string[]) {
    this.directory = directory;
    this.#options = options;
    this.#keeper = keeper;
  }

  /** Starts all. */
  static async start(options: LabOptions = {}): Promise<ContainerdLab> {
    const { parent = tmpdir(), version = "2", sandboxImage } = options;
    const directory = await mkdtemp(join(parent, "erofsify-containerd-"));
    // The root of a container in a user namespace has a way to its files through here.
    chmodSync(directory, 0o711);
    copyLibraries(join(directory, "lib"));
    const binds = [directory, REPOSITORY, realpathSync(join(REPOSITORY, "node_modules")), process.execPath];
    const suite = version === "1.7" ? ["EROFSIFY_LAB_SUITE=trixie"] : [];
    // Made before, when it is absent: a server has to be there soon.
    await run("env", [...suite, join(LAB, "lab.sh"), "containerd"]);
    const keeper = await startServer(
      "env",
      [
        ...suite,
        join(LAB, "run-in-lab.sh"),
        ...["--part", "containerd", ...binds.flatMap((path) => ["--bind", path]), "--"],
        ...["sh", "-c", "echo ready; exec sleep infinity"],
      ],
      /ready/,
    );
    const lab = new ContainerdLab(directory, keeper, options.snapshotter ?? []);
    try {
      const files = { directory, address: lab.address, root: lab.root };
      const config = containerdConfig({ ...files, version, sandboxImage });
      writeFileSync(join(directory, "config.toml"), config);
      await lab.startSnapshotter();
      await lab.startContainerd();
      return lab;
    } catch (error) {
      await lab.stop();
      throw error;
    }
  }

  /** The snapshotter's socket. */
  get address(): string {
    return join(this.directory, "snapshotter.sock");
  }

  /** The snapshotter's folder. */
  get root(): string {
    return join(this.directory, "snapshotter");
  }

  get store(): string {
    return join(this.directory, "store");
  }

  get socket(): string {
    return join(this.directory, "containerd.sock");
  }

  get containerdPid(): number {
    return this.#containerd!.child.pid!;
  }

  get snapshotterPid(): number {
    return this.#snapshotter!.child.pid!;
  }

  /** @param wrapper a command that starts another one, given behind it */
  async startSnapshotter(...wrapper: string[]): Promise<void> {
    const { command, args } = this.#blobd(
      wrapper,
      "snapshotter",
      ...["--address", this.address, "--containerd", this.socket, "--store", this.store, "--root", this.root],
      ...["--log-level", process.env.SNAPSHOTTER_LOG ?? "info", ...this.#options],
    );
    this.#snapshotter = await startServer(command, args, /snapshotter serves/);
    if (process.env.SNAPSHOTTER_LOG !== undefined)
      for (const stream of [this.#snapshotter.child.stdout!, this.#snapshotter.child.stderr!])
        stream.on("data", (chunk) => process.stderr.write(chunk));
  }

  /** Starts what serves images on demand, as its systemd unit does: without it the snapshotter starts one by itself. */
  async startServe(...options: string[]): Promise<void> {
    const { command, args } = this.#blobd([], "serve", "--store", this.store, ...options);
    this.#serve = await startServer(command, args, /"socket"/);
  }

  #blobd(wrapper: readonly string[], ...command: string[]): LabCommand {
    const library = `LD_LIBRARY_PATH=${join(this.directory, "lib")}`;
    return this.inside(...wrapper, "env", library, process.execPath, "--enable-source-maps", PROGRAM, ...command);
  }

  async startContainerd(): Promise<void> {
    const { command, args } = this.inside("containerd", "--config", join(this.directory, "config.toml"));
    this.#containerd = await startServer(command, args, /successfully booted/);
  }

  /** Ends the snapshotter as `systemctl stop` does. */
  async stopSnapshotter(): Promise<void> {
    await this.#snapshotter!.stop();
  }

  /** Ends a server without a chance to tidy up: `blobd serve` with its keeper and without. */
  async kill(which: "snapshotter" | "containerd" | "serve"): Promise<void> {
    const servers = { snapshotter: this.#snapshotter, containerd: this.#containerd, serve: this.#serve };
    const { child } = servers[which]!;
    const workers = which === "serve" ? this.serveWorkers() : [];
    const ended = new Promise((resolve) => child.once("exit", resolve));
    for (const pid of [child.pid!, ...workers]) process.kill(pid, "SIGKILL");
    await ended;
    while (workers.some((pid) => isRunning(pid))) await sleep(20);
  }

  /** Processes that do the work of `blobd serve`. */
  serveWorkers(): number[] {
    const { pid } = this.#serve!.child;
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
  }

  /** A command inside the lab's mount namespace. */
  inside(...command: string[]): LabCommand {
    return {
      command: "nsenter",
      args: ["--target", `${this.#keeper.child.pid}`, "--mount", "--", ...command],
    };
  }

  /** A path of the lab, seen from outside. */
  outside(path: string): string {
    return `/proc/${this.#keeper.child.pid}/root${path}`;
  }

  ctrCommand(...args: string[]): LabCommand {
    return this.inside("ctr", "--address", this.socket, ...args);
  }

  /** Runs ctr. @throws CommandError */
  ctr(...args: string[]): Promise<RunResult> {
    return this.run(this.ctrCommand(...args));
  }

  run({ command, args }: LabCommand): Promise<RunResult> {
    return run(command, args);
  }

  /** Pulls an image over plain HTTP. */
  pull(reference: string, snapshotter = SNAPSHOTTER): Promise<RunResult> {
    return this.ctr("images", "pull", "--plain-http", "--snapshotter", snapshotter, reference);
  }

  /** Lines of the mount table that speak of our folder. */
  async mounts(): Promise<string[]> {
    const { stdout } = await this.run(this.inside("cat", "/proc/self/mounts"));
    return stdout.split("\n").filter((line) => line.includes(this.root));
  }

  /** Ends all and removes the state. */
  async stop(): Promise<void> {
    await this.#containerd?.stop();
    await this.#snapshotter?.stop();
    await this.#serve?.stop();
    // What containerd's tasks left would keep the namespace alive.
    await this.#keeper.stop();
    await rm(this.directory, { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  return existsSync(`/proc/${pid}/stat`) && !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
}

function copyLibraries(to: string): void {
  mkdirSync(to);
  for (const folder of LIBRARY_FOLDERS)
    for (const name of LIBRARIES) if (existsSync(join(folder, name))) copyFileSync(join(folder, name), join(to, name));
}
