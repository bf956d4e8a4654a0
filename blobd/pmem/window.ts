import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { roundUp } from "../../formats/bytes/index.ts";
import { eventFd, PAGE_SIZE, SysError, signalEvent } from "../sys/index.ts";
import { MAX_FILES, PLACED, type Placement, WindowContents } from "./contents.ts";
import { PrivateViews } from "./private-views.ts";

/** Files lie on multiples of this: the unit of virtio-pmem, and of huge pages. */
const ALIGN_BYTES = 2 << 20;

/** A file that does not fit, or is none. */
export class WindowError extends Error {
  override readonly name = "WindowError";
  readonly code = "ERR_WINDOW";
}

/** A file for the window. */
export interface WindowFile {
  readonly path: string;
  /** Where it lies, in bytes; behind everything else when it is left out. */
  readonly offset?: number;
}

export interface WindowOptions {
  /** In bytes, a multiple of 2 MiB. */
  readonly bytes: number;
  /**
   * Whether guests may write to the files themselves. Without it the guest gets pages of its own, which takes memory for what it
   * reads.
   */
  readonly writesFiles: boolean;
  /** Says why a file is not to be served, or nothing. */
  readonly refuse?: (path: string) => string | undefined;
  readonly log: (line: string) => void;
}

/** The device's window on the main thread: files are added, never removed. */
export class Window {
  readonly contents: WindowContents;
  /** Tells the queue's thread of new files. */
  readonly addedFd = eventFd();
  readonly #options: WindowOptions;
  readonly #views: PrivateViews | undefined;

  private constructor(options: WindowOptions, contents: WindowContents, views: PrivateViews | undefined) {
    this.#options = options;
    this.contents = contents;
    this.#views = views;
  }

  /** @throws SysError when there can be no private views: they take root */
  static async open(options: WindowOptions): Promise<Window> {
    const contents = new WindowContents();
    const views = options.writesFiles ? undefined : await PrivateViews.start(contents, options.log);
    return new Window(options, contents, views);
  }

  /**
   * Adds a file. The guest has it when its state is MAPPED.
   * @returns its number and place
   * @throws WindowError; Error of the file system
   */
  add({ path, offset }: WindowFile): Placement & { readonly index: number } {
    const { contents } = this;
    const refusal = this.#options.refuse?.(path);
    if (refusal !== undefined) throw new WindowError(refusal);
    // Not waiting, should it be a fifo.
    const sourceFd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stat = fstatSync(sourceFd);
      if (!stat.isFile() || stat.size === 0) throw new WindowError(`${path}: is no file, or an empty one`);
      const place = { offset: offset ?? alignUp(contents.end), bytes: roundUp(stat.size, PAGE_SIZE) };
      this.#check(path, place);
      const index = contents.put(place, sourceFd, stat.size);
      contents.publish(index, this.#views?.open(index) ?? openForWriting(sourceFd, path));
      signalEvent(this.addedFd);
      return { ...place, index };
    } catch (error) {
      closeSync(sourceFd);
      throw error;
    }
  }

  /** Waits, while a guest is there, until it has a file or has been refused it; at most `ms`. @returns the file's state */
  async settled(index: number, ms: number): Promise<number> {
    const { contents } = this;
    for (const deadline = performance.now() + ms; performance.now() < deadline; await sleep(LOOK_MS))
      if (!contents.isUsed || contents.state(index) !== PLACED.WANTED) break;
    return contents.state(index);
  }

  /** Gives everything back. The device has been closed before. */
  async close(): Promise<void> {
    for (let index = 0; index < this.contents.count; index++) {
      closeSync(this.contents.fd(index));
      closeSync(this.contents.sourceFd(index));
    }
    closeSync(this.addedFd);
    await this.#views?.close();
  }

  #check(path: string, place: Placement): void {
    const { bytes } = this.#options;
    const [from, to] = [place.offset, place.offset + place.bytes];
    if (this.contents.count === MAX_FILES) throw new WindowError(`${path}: a window has at most ${MAX_FILES} files`);
    if (!Number.isSafeInteger(from) || from < 0 || from % PAGE_SIZE !== 0)
      throw new WindowError(`${path}: offset ${from} is no multiple of ${PAGE_SIZE}`);
    if (to > bytes)
      throw new WindowError(
        `${path}: bytes ${from} to ${to} do not fit into a window of ${bytes}: start with a larger --window`,
      );
    if (this.contents.overlaps(place))
      throw new WindowError(`${path}: at ${from} to ${to} there is another file already`);
  }
}

/** Opens the very file that is open for reading, whatever lies at its path meanwhile. @throws SysError */
function openForWriting(fd: number, path: string): number {
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_RDWR);
  } catch (error) {
    const { code = "EIO", errno = -5 } = error as NodeJS.ErrnoException;
    throw new SysError("open", code, -errno, path);
  }
}

/** How often is looked for the end of a mapping, in ms. */
const LOOK_MS = 5;

/** Where the next file may lie. */
export function alignUp(bytes: number): number {
  return roundUp(bytes, ALIGN_BYTES);
}
