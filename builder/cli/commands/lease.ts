import { lstatSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { defaultStoreRoot } from "../../../blobd/store/index.ts";
import { makeFolders } from "../../../blobd/sys/index.ts";
import { openLazy } from "../../lazy/index.ts";
import { EXPORT_META } from "../../open/index.ts";
import { UsageError, warn } from "../exit.ts";
import { onInterrupt } from "../interrupt.ts";
import type { FormOptions } from "./obtain.ts";
import { type SourceCommandOptions, sourceOf } from "./source.ts";

type LeaseCommandOptions = SourceCommandOptions & Pick<FormOptions, "trustReferrers"> & { readonly store?: string };

/** Holds a pushed image as a folder, as `erofsify -o` writes it, whose blobs come as they are read; until it is interrupted. */
export async function run(ref: string, folder: string, options: LeaseCommandOptions): Promise<void> {
  const interrupt = onInterrupt();
  const links: string[] = [];
  try {
    const storeRoot = options.store ?? defaultStoreRoot();
    const { image, lease } = await openLazy(sourceOf(ref, options), {
      storeRoot,
      signal: interrupt.signal,
      onWarning: warn,
      ...(options.trustReferrers && { trustReferrers: true }),
    });
    const { blobs } = image.stored!.record;
    image.close();
    const blobFolder = join(folder, "blobs", "sha256");
    makeFolders(blobFolder);
    const link = (target: string, path: string) => {
      removeLink(path);
      symlinkSync(target, path);
      links.push(path);
    };
    const linkBlobs = (paths: readonly string[]) => {
      for (const [at, { digestHex }] of blobs.entries()) link(paths[at]!, join(blobFolder, digestHex));
    };
    linkBlobs(image.devicePaths);
    link(image.metaPath, join(folder, EXPORT_META));
    process.stdout.write(`${folder}: ${ref}, until this command is interrupted\n`);
    // The first blob of a lease is the metadata, which is complete and stays.
    await lease.held(interrupt.signal, () => linkBlobs(lease.blobs.slice(1).map(({ path }) => path)));
  } finally {
    for (const path of links) rmSync(path, { force: true });
    interrupt.dispose();
  }
}

/** Removes what an earlier lease may have left: a link. Files are somebody's image. @throws UsageError */
function removeLink(path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSymbolicLink())
    throw new UsageError(`${path}: is there and is no link, expected a folder of an earlier lease, or none`);
  rmSync(path);
}
