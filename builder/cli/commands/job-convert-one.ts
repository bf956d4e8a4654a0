import { convertOne } from "../../job/child/index.ts";
import { EXIT } from "../exit.ts";

/** `erofsify job convert-one`: what workers start for each conversion. */
export async function run(): Promise<void> {
  const done = await convertOne(process.stdin, (message) => process.stdout.write(`${JSON.stringify(message)}\n`));
  if (!done) process.exitCode = EXIT.failed;
}
