/** A file system by description, so that each thread can open it: `(await import(module))[open](...args)`. */
export interface FileSystemSource {
  /** URL of a module. */
  readonly module: string;
  /** The function it exports that returns a FileSystem, or a promise of one. */
  readonly open: string;
  /** What that takes; anything that structured clone takes. */
  readonly args: readonly unknown[];
}

/** What a thread is given at its start. */
export interface ThreadJob {
  readonly fileSystem: FileSystemSource;
  /** Shared memory: the session's words, then how many threads still serve. */
  readonly shared: SharedArrayBuffer;
  /** Threads that serve the mount. */
  readonly threads: number;
}

/** To a thread: serve this descriptor until the mount is gone. */
export interface ServeMessage {
  readonly fd: number;
  /** Other threads read it too. */
  readonly isShared: boolean;
}

/** From a thread. `failed`: it could not open the file system, or the device failed. */
export type ThreadMessage =
  | { readonly kind: "ready" }
  | { readonly kind: "log"; readonly line: string }
  | { readonly kind: "ended" }
  | { readonly kind: "failed"; readonly message: string };
