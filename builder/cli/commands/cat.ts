import { fromText } from "../../../formats/bytes/index.ts";
import { readFileRange } from "../../../formats/erofs/index.ts";
import { S_IFREG } from "../../../formats/tree/index.ts";
import { UsageError } from "../exit.ts";
import { writeOut } from "../ui/output.ts";
import { type ImageOptions, withImage } from "./open.ts";

export async function run(target: string, path: string, options: ImageOptions): Promise<void> {
  await withImage(target, options, async ({ reader, devices }) => {
    const inode = reader.inode(reader.resolve(fromText(path)));
    if (inode.type !== S_IFREG)
      throw new UsageError(
        `${path} is ${inode.isDirectory ? "a directory" : "a special file"}, expected a regular file`,
      );
    for (const piece of readFileRange(reader, inode, devices, 0, inode.size)) if (!(await writeOut(piece))) return;
  });
}
