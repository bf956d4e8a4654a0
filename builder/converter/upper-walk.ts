/** What a container changed, as the entries of an OCI layer. */
import { type EntrySink, NO_XATTRS, type TarEntry } from "../../formats/tar/index.ts";
import { XATTR_METACOPY, XATTR_OPAQUE, XATTR_REDIRECT, type Xattr } from "../../formats/tree/index.ts";
import { type WalkOptions, walkDirectory } from "../sources/index.ts";

const OVERLAY_PREFIX = "trusted.overlay.";
/** OCI image specification, layer.md, "Whiteouts". */
const WHITEOUT_PREFIX = ".wh.";
const OPAQUE_NAME = ".wh..wh..opq";

/** The directory says something that an OCI layer cannot say: a rename or a change of metadata without the data. */
export class UpperError extends Error {
  override readonly name = "UpperError";
  readonly code = "ERR_UNSUPPORTED";
}

export interface UpperOptions extends WalkOptions {
  /** Whether the root directory's own entry is wanted. */
  readonly root: boolean;
  /** Which attributes are kept; overlayfs's own never are. */
  readonly keepXattr?: (name: string) => boolean;
  /** No entry is younger, in seconds since 1970. */
  readonly latestSeconds?: number | undefined;
  /** Whether times are cut to whole seconds. */
  readonly wholeSeconds?: boolean;
}

/**
 * Walks the upper directory of an overlay and feeds what it says to a sink in the form of an OCI layer: a character
 * device 0/0 becomes a whiteout, trusted.overlay.opaque a mark in its directory before anything else in it. (Linux
 * Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".) Whiteouts are of 1970: they have no time.
 *
 * @returns the bytes of file data read
 * @throws UpperError for redirected and metacopy files; SourceError; what the sink throws
 */
export function walkUpper(upper: string, sink: EntrySink, options: UpperOptions): Promise<number> {
  return walkDirectory(upper, new UpperSink(sink, options), options);
}

class UpperSink implements EntrySink {
  readonly #sink: EntrySink;
  readonly #options: UpperOptions;
  /** Paths of whiteouts: overlayfs makes them as hard links of one inode, so the walk gives all but the first as links. */
  readonly #whiteouts = new Set<string>();
  #skipped = false;

  constructor(sink: EntrySink, options: UpperOptions) {
    this.#sink = sink;
    this.#options = options;
  }

  entry(entry: TarEntry): void {
    this.#skipped = false;
    const isRoot = entry.path === "./";
    if (this.#isWhiteout(entry)) {
      this.#sink.entry(markEntry(entry, beside(entry.path, WHITEOUT_PREFIX)));
      return;
    }
    const { xattrs } = entry;
    if (xattrs.length > 0 && (xattrOf(xattrs, XATTR_METACOPY) ?? xattrOf(xattrs, XATTR_REDIRECT)) !== undefined)
      throw new UpperError(`${entry.path} was renamed or changed without its data (overlayfs redirect_dir, metacopy)`);
    if (isRoot && !this.#options.root) this.#skipped = true;
    else this.#sink.entry(this.#layerEntry(entry));
    if (entry.type !== "directory" || xattrOf(xattrs, XATTR_OPAQUE) !== "y") return;
    if (!this.#skipped) this.#sink.endEntry();
    this.#sink.entry(markEntry(entry, isRoot ? OPAQUE_NAME : `${entry.path.replace(/\/?$/, "/")}${OPAQUE_NAME}`));
    this.#skipped = false;
  }

  data(bytes: Uint8Array, start: number, end: number): void {
    this.#sink.data(bytes, start, end);
  }

  endEntry(): void {
    if (!this.#skipped) this.#sink.endEntry();
  }

  #isWhiteout({ type, devMajor, devMinor, path, linkPath }: TarEntry): boolean {
    if (type === "hardlink") return this.#whiteouts.has(linkPath);
    const is = type === "char" && devMajor === 0 && devMinor === 0;
    if (is) this.#whiteouts.add(path);
    return is;
  }

  #layerEntry(entry: TarEntry): TarEntry {
    const { keepXattr, latestSeconds = Number.POSITIVE_INFINITY, wholeSeconds = false } = this.#options;
    const tooYoung = entry.mtimeSeconds >= latestSeconds;
    const keep = ({ name }: Xattr) => !name.startsWith(OVERLAY_PREFIX) && (keepXattr?.(name) ?? true);
    return {
      ...entry,
      path: entry.type === "directory" ? entry.path.replace(/\/?$/, "/") : entry.path,
      mtimeSeconds: tooYoung ? latestSeconds : entry.mtimeSeconds,
      mtimeNanos: tooYoung || wholeSeconds ? 0 : entry.mtimeNanos,
      xattrs: entry.xattrs.length === 0 ? NO_XATTRS : entry.xattrs.filter(keep),
    };
  }
}

function xattrOf(xattrs: readonly Xattr[], name: string): string | undefined {
  return xattrs.find((one) => one.name === name)?.value;
}

/** The path with `prefix` before its last name. */
function beside(path: string, prefix: string): string {
  const slash = path.lastIndexOf("/") + 1;
  return path.slice(0, slash) + prefix + path.slice(slash);
}

function markEntry(entry: TarEntry, path: string): TarEntry {
  return {
    ...entry,
    type: "file",
    path,
    linkPath: "",
    mode: 0,
    uid: 0,
    gid: 0,
    size: 0,
    mtimeSeconds: 0,
    mtimeNanos: 0,
    devMajor: 0,
    devMinor: 0,
    xattrs: NO_XATTRS,
  };
}
