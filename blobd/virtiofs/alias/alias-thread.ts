/** The script of the thread that serves aliases; see Aliases. */
import { closeSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { DeviceChannel } from "../../fuse/device/index.ts";
import { FuseServer, SESSION_WORDS } from "../../fuse/index.ts";
import { ownDescriptors, ProcessDescriptors } from "../../sys/index.ts";
import { AliasFileSystem } from "./alias-file-system.ts";

export interface AliasThreadData {
  /** Of /dev/fuse, for the mount; the process closes its own when the thread serves. */
  readonly deviceFd: number;
  /** The mounted folder. */
  readonly folderFd: number;
}

export type AliasThreadMessage = { readonly kind: "serving" } | { readonly kind: "log"; readonly line: string };

const { deviceFd, folderFd } = workerData as AliasThreadData;
const tell = (message: AliasThreadMessage) => parentPort!.postMessage(message);
const log = (line: string) => tell({ kind: "log", line });

ownDescriptors();
// The mount is to go when the process closes it.
closeSync(folderFd);
const fileSystem = new AliasFileSystem(deviceFd, new ProcessDescriptors());
const server = new FuseServer(fileSystem, { session: new Int32Array(SESSION_WORDS), log });
const channel = new DeviceChannel(deviceFd, server, log);
tell({ kind: "serving" });
channel.run();
closeSync(deviceFd);
