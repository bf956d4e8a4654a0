/** The script of a thread that serves a mount of /dev/fuse; see FuseMount. */
import { parentPort, workerData } from "node:worker_threads";
import { type FileSystem, FuseServer, SESSION_WORDS } from "../index.ts";
import { DeviceChannel } from "./channel.ts";
import type { ServeMessage, ThreadJob, ThreadMessage } from "./job.ts";

const { fileSystem: source, shared, threads } = workerData as ThreadJob;
const port = parentPort!;
const tell = (message: ThreadMessage) => port.postMessage(message);
const log = (line: string) => tell({ kind: "log", line });
const fail = (error: unknown) =>
  tell({ kind: "failed", message: error instanceof Error ? (error.stack ?? error.message) : String(error) });

try {
  const module = (await import(source.module)) as Record<string, (...args: readonly unknown[]) => unknown>;
  const fileSystem = (await module[source.open]!(...source.args)) as FileSystem;
  const server = new FuseServer(fileSystem, { session: new Int32Array(shared, 0, SESSION_WORDS), log });
  port.once("message", ({ fd, isShared }: ServeMessage) => {
    try {
      new DeviceChannel(fd, server, log, isShared).run();
      endSession(server, fileSystem);
      tell({ kind: "ended" });
    } catch (error) {
      fail(error);
    }
  });
  tell({ kind: "ready" });
} catch (error) {
  fail(error);
}

/** The last thread to leave ends the file system: Linux sends no DESTROY through /dev/fuse. */
function endSession(server: FuseServer, fileSystem: FileSystem): void {
  const left = new Int32Array(shared, SESSION_WORDS * 4, 1);
  if (Atomics.add(left, 0, 1) + 1 < threads || !server.session.isStarted) return;
  server.session.end();
  fileSystem.destroy();
}
