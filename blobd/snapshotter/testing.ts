/** For tests: a snapshotter in this process, called over its socket as containerd does. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { credentials, type ServiceError as GrpcError } from "@grpc/grpc-js";
import { pino } from "pino";
import { unmount } from "../sys/index.ts";
import { type InfoMessage, loadServices, type Mount } from "./grpc/index.ts";
import { type RunningSnapshotter, startSnapshotter } from "./index.ts";

/** This file is dist/blobd/snapshotter/testing.js when it runs. */
const PROGRAM = fileURLToPath(new URL("../../bin/erofsify.js", import.meta.url));
type Labels = Readonly<Record<string, string>>;

/** A client of a snapshotter's, as containerd is one. */
export class SnapshotsClient {
  readonly #client;

  /** @param address of its socket: a path */
  constructor(address: string) {
    const { Client } = loadServices().snapshots;
    this.#client = new Client(`unix:${address}`, credentials.createInsecure());
  }

  close(): void | Promise<void> {
    this.#client.close();
  }

  async prepare(key: string, parent = "", labels: Labels = {}): Promise<Mount[]> {
    return (await this.call<{ mounts: Mount[] }>("prepare", { key, parent, labels })).mounts;
  }

  async view(key: string, parent = "", labels: Labels = {}): Promise<Mount[]> {
    return (await this.call<{ mounts: Mount[] }>("view", { key, parent, labels })).mounts;
  }

  async mounts(key: string): Promise<Mount[]> {
    return (await this.call<{ mounts: Mount[] }>("mounts", { key })).mounts;
  }

  commit(name: string, key: string, labels: Labels = {}): Promise<object> {
    return this.call("commit", { name, key, labels });
  }

  remove(key: string): Promise<object> {
    return this.call("remove", { key });
  }

  async stat(key: string): Promise<InfoMessage> {
    return (await this.call<{ info: InfoMessage }>("stat", { key })).info;
  }

  async update(info: Partial<InfoMessage>, ...paths: string[]): Promise<InfoMessage> {
    return (await this.call<{ info: InfoMessage }>("update", { info, updateMask: { paths } })).info;
  }

  async list(...filters: string[]): Promise<InfoMessage[]> {
    const open = this.#client.list as unknown as (request: object) => AsyncIterable<{ info: InfoMessage[] }>;
    const found: InfoMessage[] = [];
    for await (const { info } of open.call(this.#client, { filters })) found.push(...info);
    return found;
  }

  /** Any call. @throws the gRPC error */
  call<T>(method: string, request: object): Promise<T> {
    const invoke = this.#client[method] as unknown as (
      request: object,
      done: (error: GrpcError | null, answer: T) => void,
    ) => void;
    return new Promise((resolve, reject) =>
      invoke.call(this.#client, request, (error, answer) => (error === null ? resolve(answer) : reject(error))),
    );
  }
}

/** A snapshotter with a folder of its own, and a client. */
export class TestSnapshotter extends SnapshotsClient {
  readonly directory: string;
  #running: RunningSnapshotter | null = null;
  #mounted: string[] = [];
  #made = 0;

  constructor() {
    const directory = mkdtempSync(join(tmpdir(), "snapshotter-"));
    super(join(directory, "sock"));
    this.directory = directory;
  }

  async start(): Promise<void> {
    this.#running = await startSnapshotter({
      address: join(this.directory, "sock"),
      containerd: join(this.directory, "no-containerd.sock"),
      store: join(this.directory, "store"),
      root: join(this.directory, "root"),
      program: PROGRAM,
      log: pino({ level: "silent" }),
    });
  }

  async stop(): Promise<void> {
    await this.#running?.stop();
    this.#running = null;
  }

  /** Ends all, and removes the folder. */
  override async close(): Promise<void> {
    for (const target of this.#mounted.reverse()) unmount(target, { lazy: true });
    await super.close();
    await this.stop();
    const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n");
    for (const line of mounts) if (line.includes(this.directory)) unmount(line.split(" ")[1]!, { lazy: true });
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Mounts what a snapshot gave, as runtimes do, for as long as `use` runs. */
  async mounted<T>(mounts: readonly Mount[], use: (directory: string) => T): Promise<T> {
    const target = join(this.directory, `mount-${this.#made++}`);
    mkdirSync(target);
    const [{ type, source, options }, ...more] = mounts as [Mount, ...Mount[]];
    if (more.length > 0) throw new Error("one mount was expected");
    const how = type === "bind" ? ["--rbind"] : ["-t", type];
    const rest = options.filter((option) => option !== "rbind" && option !== "rw");
    execFileSync("mount", [...how, ...(rest.length > 0 ? ["-o", rest.join(",")] : []), source, target]);
    this.#mounted.push(target);
    try {
      return use(target);
    } finally {
      this.#mounted = this.#mounted.filter((one) => one !== target);
      unmount(target);
    }
  }
}
