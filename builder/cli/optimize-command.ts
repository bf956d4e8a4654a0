/** `erofsify optimize`. */
import type { Command, Option } from "commander";

export function registerOptimize(program: Command, jsonOption: () => Option, storeOption: () => Option): void {
  program
    .command("optimize")
    .description("lay what a start reads first into a small blob of its own, in the order in which it is read")
    .argument("<image>", "REFERENCE of an image in the store; the result takes its name")
    .requiredOption("--trace <file>", "what is read first, as run --record and blobd trace write it")
    .option("-o, --output <file>", "write the list for push --prefetch that fits the result")
    .option("-q, --quiet", "errors only")
    .addOption(jsonOption())
    .addOption(storeOption())
    .addHelpText(
      "after",
      `
Examples
  erofsify push app:1 --to registry.lan/app:erofs
  erofsify run --lazy --record start.json registry.lan/app:erofs
  erofsify optimize app:1 --trace start.json -o hot.json
  erofsify push app:1 --prefetch hot.json --to registry.lan/app:erofs`,
    )
    .action(async (image, options) => (await import("./commands/optimize.ts")).run(image, options));
}
