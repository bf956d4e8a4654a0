import { fromText } from "../../formats/bytes/index.ts";
import { PathError, readFileRange } from "../../formats/erofs/index.ts";
import { S_IFREG } from "../../formats/tree/index.ts";
import type { OpenedImage } from "../open/index.ts";
import { VmError } from "./errors.ts";
import type { Accounts } from "./guest/index.ts";

/** Longest /etc/passwd or /etc/group that is read, in bytes. */
const MAX_ACCOUNT_BYTES = 16 << 20;

/** The image's own users and groups. */
export function accountsOf(image: OpenedImage): Accounts {
  return { passwd: textOf(image, "/etc/passwd"), group: textOf(image, "/etc/group") };
}

function textOf({ reader, devices }: OpenedImage, path: string): string {
  try {
    const inode = reader.inode(reader.resolve(fromText(path)));
    if (inode.type !== S_IFREG) return "";
    if (inode.size > MAX_ACCOUNT_BYTES)
      throw new VmError(
        "ERR_LIMIT",
        `the image's ${path} has ${inode.size} bytes, at most ${MAX_ACCOUNT_BYTES} are read`,
      );
    const pieces = [...readFileRange(reader, inode, devices, 0, inode.size)].map((piece) => Buffer.from(piece));
    return Buffer.concat(pieces).toString("utf8");
  } catch (error) {
    if (error instanceof PathError) return "";
    throw error;
  }
}
