/** A process for tests that mounts a file system in memory: arguments are the mount point, and `exit` to end soon. */
import { FuseMount } from "./index.ts";

const [, , target, how] = process.argv;
await FuseMount.start({
  target: target!,
  source: "test",
  threads: 1,
  log: (line) => process.stderr.write(`${line}\n`),
  fileSystem: {
    module: new URL("../testing/memory-file-system.js", import.meta.url).href,
    open: "openMemoryFileSystem",
    args: [],
  },
});
process.stdout.write("mounted\n");
if (how === "exit") setTimeout(() => process.exit(7), 200);
