import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { posix } from "node:path";
import { ioError, SourceError } from "../../blobd/registry/index.ts";
import { FormatError } from "../../formats/bytes/index.ts";
import { type TarEntry, TarReader } from "../../formats/tar/index.ts";
import type { Member } from "./image.ts";

const BLOCK = 512;
/** Images have one member a layer and a few more. */
const MAX_MEMBERS = 65_536;
/** Old `docker save` links equal layers; a link to a link is already unheard of. */
const MAX_LINKS = 8;

/**
 * A table of contents of an image archive (OCI or Docker). Only headers are read: the data of a member, gigabytes maybe,
 * is passed over by position.
 */
export class ArchiveIndex {
  /** The file that is read. */
  readonly path: string;
  /** What errors call it. */
  readonly #name: string;
  readonly #members = new Map<string, Member>();
  /** Symbolic and hard links, by the path they point to. */
  readonly #links = new Map<string, string>();

  private constructor(path: string, name: string) {
    this.path = path;
    this.#name = name;
  }

  /**
   * @param path A plain tar.
   * @param name What it is called, where that is not its path.
   * @throws SourceError ERR_NOT_FOUND, ERR_IO, ERR_BAD_MANIFEST when it is no tar
   */
  static open(path: string, name = path): ArchiveIndex {
    const index = new ArchiveIndex(path, name);
    let fd: number;
    try {
      fd = openSync(path, "r");
    } catch (error) {
      throw ioError(name, error);
    }
    try {
      index.#read(fd);
    } catch (error) {
      if (!(error instanceof FormatError)) throw ioError(name, error);
      throw new SourceError("ERR_BAD_MANIFEST", `${name}: ${error.message}`, { cause: error });
    } finally {
      closeSync(fd);
    }
    return index;
  }

  #read(fd: number): void {
    const fileSize = fstatSync(fd).size;
    let members = 0;
    for (let at = 0; ; ) {
      const found = readMember(fd, at);
      if (found === undefined) return;
      const { entry, offset } = found;
      if (offset + entry.size > fileSize)
        throw new FormatError(
          "ERR_TRUNCATED",
          `tar member ${JSON.stringify(entry.path)}`,
          offset,
          `has ${entry.size} bytes, the archive ends after ${fileSize - offset}`,
        );
      if (++members > MAX_MEMBERS)
        throw new SourceError(
          "ERR_LIMIT",
          `${this.#name}: has more than ${MAX_MEMBERS} members; is it an image archive?`,
        );
      this.#add(entry, offset);
      at = offset + Math.ceil(entry.size / BLOCK) * BLOCK;
    }
  }

  #add(entry: TarEntry, offset: number): void {
    const path = inside(entry.path);
    this.#members.delete(path);
    this.#links.delete(path);
    // A symlink counts from its own folder, a hard link from the archive's root.
    if (entry.type === "symlink") this.#links.set(path, inside(posix.join(posix.dirname(path), entry.linkPath)));
    else if (entry.type === "hardlink") this.#links.set(path, inside(entry.linkPath));
    else if (entry.type === "file" && entry.sparse === null) this.#members.set(path, { offset, size: entry.size });
  }

  /** The member with this path, links followed; undefined when there is none. */
  find(path: string): Member | undefined {
    let at: string | undefined = inside(path);
    for (let links = 0; at !== undefined && links <= MAX_LINKS; links++) {
      const member = this.#members.get(at);
      if (member) return member;
      at = this.#links.get(at);
    }
    return undefined;
  }

  /**
   * A small member's bytes.
   * @throws SourceError ERR_NOT_FOUND, ERR_LIMIT, ERR_IO
   */
  read(path: string, limit: number): Buffer {
    const member = this.find(path);
    if (member === undefined) throw new SourceError("ERR_NOT_FOUND", `${this.#name}: has no member ${path}`);
    if (member.size > limit)
      throw new SourceError(
        "ERR_LIMIT",
        `${this.#name}: ${path} is ${member.size} bytes long, at most ${limit} are accepted`,
      );
    return readMemberBytes(this.path, member);
  }
}

/** Bytes of a member, or fewer when the file has become shorter. */
export function readMemberBytes(path: string, { offset, size }: Member): Buffer {
  try {
    const fd = openSync(path, "r");
    try {
      const bytes = Buffer.alloc(size);
      return bytes.subarray(0, readSync(fd, bytes, 0, size, offset));
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw ioError(path, error);
  }
}

/** A member's path from the root of the archive, without `.` and `..`. */
function inside(path: string): string {
  return posix.join("/", path).slice(1);
}

/** The member whose first header is at `start`, and where its data begins; undefined at the archive's end. */
function readMember(fd: number, start: number): { entry: TarEntry; offset: number } | undefined {
  let entry: TarEntry | undefined;
  const reader = new TarReader({
    entry: (e) => {
      entry = e;
    },
    data: () => {},
    endEntry: () => {},
  });
  const block = Buffer.alloc(BLOCK);
  try {
    for (let at = start; ; ) {
      const got = readSync(fd, block, 0, BLOCK, at);
      if (at === start && (got === 0 || block.every((b) => b === 0))) return undefined;
      reader.push(block.subarray(0, got));
      at += got;
      if (entry !== undefined) return { entry, offset: at };
      if (got < BLOCK) {
        reader.end();
        return undefined;
      }
    }
  } catch (error) {
    // The reader counts from the member's start.
    if (!(error instanceof FormatError)) throw error;
    throw new FormatError(error.code, error.field, start + error.offset, error.detail);
  }
}
