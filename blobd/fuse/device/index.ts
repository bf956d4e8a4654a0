/** The /dev/fuse transport: a file system mounted on this host, served by threads. */
export { type Attached, type AttachOptions, attach } from "./attach.ts";
export { DeviceChannel } from "./channel.ts";
export { abortConnection, findFuseMount } from "./connection.ts";
export { HiddenMount } from "./hidden-mount.ts";
export type { FileSystemSource } from "./job.ts";
export {
  FuseMount,
  type FuseMountOptions,
  type HeldMount,
  MAX_THREADS,
  removeMount,
  type SessionTerms,
} from "./mount.ts";
export { FuseNotifier } from "./notifier.ts";
