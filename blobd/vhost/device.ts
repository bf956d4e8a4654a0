/** What a device is, as a front-end sees it, and the program that serves its queues. A plain description. */
export interface DeviceDescription {
  /** Names the device in log lines. */
  readonly name: string;
  /** Queues that a front-end may use at most. */
  readonly maxQueues: number;
  /**
   * The device's own virtio feature bits (0 to 23, 50 to 63). The library adds VERSION_1, RING_INDIRECT_DESC,
   * RING_EVENT_IDX and VHOST_USER_F_PROTOCOL_FEATURES.
   */
  readonly features: bigint;
  /** Configuration space; a front-end reads zeros behind it. */
  readonly config: Uint8Array;
  /** Size of shared-memory region 0, into which the device maps files; 0 for none. A multiple of 4096. */
  readonly windowBytes: number;
  /** What serves the queues. */
  readonly worker: WorkerProgram;
}

/** The program of a queue's worker: a module that calls `runQueueWorker` as its last statement. */
export interface WorkerProgram {
  /** URL of the module, `new URL("./worker.js", import.meta.url).href`. */
  readonly module: string;
  /** What the worker finds as `QueueWorker.data`: anything that structured clone copies (SharedArrayBuffer included). */
  readonly data: unknown;
}
