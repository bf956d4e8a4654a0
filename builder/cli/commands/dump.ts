import { dumpTree } from "../../../formats/tree/index.ts";
import { writeLines } from "../ui/output.ts";
import { type ImageOptions, withImage } from "./open.ts";

export async function run(target: string, options: ImageOptions & { readonly extents?: boolean }): Promise<void> {
  await withImage(target, options, ({ reader }) =>
    writeLines(dumpTree(reader.toTree(), { extents: options.extents ?? false })),
  );
}
