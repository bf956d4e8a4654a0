/** `erofsify push`. */
import type { Command, Option } from "commander";

/** Options that other commands have, too. */
export interface SharedOptions {
  readonly jsonOption: () => Option;
  readonly storeOption: () => Option;
  readonly dictOption: () => Option;
}

export function registerPush(program: Command, { jsonOption, storeOption, dictOption }: SharedOptions): void {
  program
    .command("push")
    .description("push a converted image to a registry, in the form of the draft EROFS image specification")
    .argument("<image-ref>", "REFERENCE of an image in the store, or of one to be converted first")
    .option("--to <ref>", "where to (default: beside the source, its tag with -erofs or -FORMAT behind it; see --as)")
    .option(
      "--as <form>",
      "tag: alone under its tag; index: behind its source in an index, by default in the source's place; referrer: attached to its source",
      "tag",
    )
    .option(
      "--format <name>",
      "erofs: the draft's, merged; erofs-layers: the draft's, each layer for itself; containerd: layers that the erofs snapshotter of containerd 2.3 and later pulls, containerd-2.1: of 2.1 and 2.2",
      "erofs",
    )
    .option("--all-platforms", "the image of every platform that the source has")
    .option("--compression <name>", "zstd, or none: blobs as they are", "zstd")
    .option("--level <n>", "of zstd, 1 (fast) to 22 (small)")
    .option("--verity", "with dm-verity hash trees, and their roots as annotations; see docs/verity.md")
    .addOption(dictOption())
    .option("--chunk-size <size>", "what is compressed, and fetched later, at once, such as 256KiB")
    .option(
      "--prefetch <file>",
      "a list by run --record or blobd trace: fetched ahead, in its order, where the image is run",
    )
    .option("--platform <os/arch>", "which image of a multi-platform one")
    .option("--pull", "ask the source even when the store has an image of this name")
    .option("--plain-http", "talk HTTP without TLS to registries (automatic for localhost)")
    .option("-q, --quiet", "no progress; errors only")
    .addOption(jsonOption())
    .addOption(storeOption())
    .addHelpText(
      "after",
      `
Examples
  erofsify push ghcr.io/org/app:1.2                      to ghcr.io/org/app:1.2-erofs
  erofsify push --as referrer ghcr.io/org/app:1.2        found by erofsify run --lazy ghcr.io/org/app:1.2
  erofsify push --format containerd ghcr.io/org/app:1.2  to ghcr.io/org/app:1.2-containerd
  erofsify push oci:./layout:latest --to localhost:5000/app:erofs
  erofsify push --level 9 --chunk-size 512KiB alpine --to registry.lan/alpine:erofs`,
    )
    .action(async (ref, options) => (await import("./commands/push.ts")).run(ref, options));
}
