/**
 * Compressed archives. Layers are read out of an archive by position, several at once, which a compressed one does not
 * allow; so it is unpacked once, into a file without a name. That takes its size on the disk while the process lives, or
 * until it is released, and leaves nothing behind however the process ends.
 */
import { randomUUID } from "node:crypto";
import { closeSync, constants, openSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { ioError, SourceError } from "../../blobd/registry/index.ts";
import { FormatError } from "../../formats/bytes/index.ts";
import { DETECT_BYTES, decompress, detectCompression } from "../decompress/index.ts";
import { readMemberBytes } from "./archive-index.ts";
import { readFileRange } from "./file-range.ts";

export interface SpoolOptions {
  readonly signal?: AbortSignal | undefined;
  /** Most bytes the archive may unpack to. */
  readonly limitBytes: number;
  /** Where the unpacked copy takes its room. */
  readonly directory: string;
}

const { O_RDWR, O_CREAT, O_EXCL } = constants;
/** The process's own descriptors as paths: they open in every thread of it. */
const DESCRIPTOR_PATH = /^\/proc\/self\/fd\/(\d+)$/;

/**
 * A path to the archive as a plain tar: its own, or that of an unpacked copy.
 * @throws SourceError ERR_NOT_FOUND, ERR_IO, ERR_BAD_MANIFEST (damaged), ERR_LIMIT
 */
export async function plainArchive(path: string, options: SpoolOptions): Promise<string> {
  const start = readMemberBytes(path, { offset: 0, size: DETECT_BYTES });
  return detectCompression(start) === "none" ? path : await unpack(path, options);
}

/** Gives back the room of an unpacked copy. Other paths are left alone. */
export function releaseArchive(path: string): void {
  const descriptor = DESCRIPTOR_PATH.exec(path)?.[1];
  if (descriptor !== undefined) closeSync(Number(descriptor));
}

async function unpack(path: string, { signal, limitBytes, directory }: SpoolOptions): Promise<string> {
  const copy = namelessFile(directory);
  try {
    let written = 0;
    for await (const piece of decompress(readFileRange(path, 0, Number.MAX_SAFE_INTEGER, signal), "detect")) {
      if (written + piece.length > limitBytes)
        throw new SourceError(
          "ERR_LIMIT",
          `${path}: unpacks to more than ${limitBytes} bytes, the most that is accepted`,
        );
      for (let at = 0; at < piece.length; ) at += writeSync(copy, piece, at, piece.length - at, written + at);
      written += piece.length;
    }
    return `/proc/self/fd/${copy}`;
  } catch (error) {
    closeSync(copy);
    if (signal?.aborted) throw signal.reason;
    if (error instanceof FormatError)
      throw new SourceError("ERR_BAD_MANIFEST", `${path}: ${error.message}`, { cause: error });
    throw ioError(`${path}, unpacked into ${directory} (TMPDIR names another place)`, error);
  }
}

function namelessFile(directory: string): number {
  const name = join(directory, `.erofsify-${randomUUID()}`);
  try {
    const descriptor = openSync(name, O_RDWR | O_CREAT | O_EXCL, 0o600);
    unlinkSync(name);
    return descriptor;
  } catch (error) {
    throw ioError(`${directory} (TMPDIR names another place)`, error);
  }
}
