import { statSync } from "node:fs";
import { type AddRequest, formatPlaced, type PlacedFile, parseAdd } from "../../formats/control/index.ts";
import { bit, PMEM_CONFIG_BYTES, PmemFeature } from "../../formats/virtio/index.ts";
import { LineSocket } from "../control/index.ts";
import { type DeviceDescription, LocalDataPlane, VhostBackend } from "../vhost/index.ts";
import { PLACED } from "./contents.ts";
import type { PmemWorkerData } from "./queue.ts";
import { alignUp, Window, WindowError, type WindowFile, type WindowOptions } from "./window.ts";

export interface PmemOptions {
  /** Where the VMM connects. */
  readonly socketPath: string;
  /** Where files can be added meanwhile; nowhere without it. */
  readonly controlPath?: string;
  readonly files: readonly WindowFile[];
  /** Size of the memory, rounded up to 2 MiB; as large as the files need without it. */
  readonly windowBytes?: number;
  /** See WindowOptions. */
  readonly writesFiles: boolean;
  readonly refuse?: WindowOptions["refuse"];
  readonly log: { info(line: string): void; warn(line: string): void };
}

/** Largest window, in bytes: Linux keeps 64 bytes of the guest's memory for each page of it, 4 GiB for so many. */
const MAX_WINDOW_BYTES = 2 ** 38;
/** How long who adds a file waits for the guest to have it, in ms. */
const MAP_MS = 5000;

/** A virtio-pmem device on a vhost-user socket, whose memory is files of this host. */
export class PmemServer {
  /** Of the window, in bytes. */
  readonly windowBytes: number;
  readonly #backend: VhostBackend;
  readonly #window: Window;
  #control: LineSocket | undefined;

  private constructor(backend: VhostBackend, window: Window, windowBytes: number) {
    this.#backend = backend;
    this.#window = window;
    this.windowBytes = windowBytes;
  }

  /**
   * Opens the files and the sockets.
   * @throws WindowError for files that do not fit; RangeError for a window that there is none of; SysError
   */
  static async start(options: PmemOptions): Promise<PmemServer> {
    const { files, log } = options;
    const windowBytes = alignUp(options.windowBytes ?? needed(files));
    if (!(windowBytes > 0 && windowBytes <= MAX_WINDOW_BYTES))
      throw new RangeError(`window: found ${windowBytes} bytes, expected up to ${MAX_WINDOW_BYTES}`);
    const window = await Window.open({
      bytes: windowBytes,
      writesFiles: options.writesFiles,
      ...(options.refuse && { refuse: options.refuse }),
      log: (line) => log.warn(line),
    });
    let server: PmemServer | undefined;
    try {
      for (const file of files) window.add(file);
      const device = describe(window, windowBytes);
      const backend = new VhostBackend(device, new LocalDataPlane(device), { log: (line) => log.info(line) });
      server = new PmemServer(backend, window, windowBytes);
      backend.listen(options.socketPath);
      if (options.controlPath !== undefined) await server.#listen(options.controlPath, (line) => log.warn(line));
      return server;
    } catch (error) {
      await (server?.close() ?? window.close());
      throw error;
    }
  }

  /** Adds files, which the guest sees when this resolves, or when it starts. @throws WindowError */
  async add({ files, isBehind }: AddRequest): Promise<PlacedFile[]> {
    const base = isBehind ? alignUp(this.#window.contents.end) : 0;
    // All of them before anything is waited for: another request would find half of an image, and take its place for free.
    const places = files.map((file) => ({
      file,
      ...this.#window.add(file.offset === undefined ? file : { ...file, offset: base + file.offset }),
    }));
    const placed: PlacedFile[] = [];
    for (const { file, index, offset, bytes } of places) {
      const state = await this.#window.settled(index, MAP_MS);
      if (state === PLACED.FAILED)
        throw new WindowError(`${file.path}: the VMM refuses to map it (error ${this.#window.contents.error(index)})`);
      placed.push({ path: file.path, offset, bytes, isMapped: state === PLACED.MAPPED });
    }
    return placed;
  }

  /** Resolves when nobody can connect any more. */
  get ended(): Promise<void> {
    return this.#backend.ended;
  }

  async close(): Promise<void> {
    this.#control?.close();
    await this.#backend.close();
    await this.#window.close();
  }

  async #listen(path: string, log: (line: string) => void): Promise<void> {
    const attendant = {
      answer: async (line: Buffer) => formatPlaced(await this.add(parseAdd(line))),
      end: () => {},
    };
    this.#control = await LineSocket.listen(path, () => attendant, log);
  }
}

function describe(window: Window, windowBytes: number): DeviceDescription {
  const data: PmemWorkerData = { contents: window.contents.memory, addedFd: window.addedFd };
  return {
    name: "pmem",
    maxQueues: 1,
    features: bit(PmemFeature.SHMEM_REGION),
    config: new Uint8Array(PMEM_CONFIG_BYTES),
    windowBytes,
    worker: { module: new URL("./worker.js", import.meta.url).href, data },
  };
}

/** What the files need, laid out as `Window.add` does. */
function needed(files: readonly WindowFile[]): number {
  let end = 0;
  for (const { path, offset } of files) end = Math.max(end, (offset ?? alignUp(end)) + statSync(path).size);
  return end;
}
