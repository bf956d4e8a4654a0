/** Test program: opens aliases of one file as fast as it can, until it is killed. `testing-opener.js FILE` */
import { closeSync, openSync, writeSync } from "node:fs";
import { Aliases, openAlias } from "./index.ts";

const fd = openSync(process.argv[2]!, "r+");
const { folderFd } = await Aliases.start(() => {});
writeSync(1, "ready\n");
for (;;) closeSync(openAlias(folderFd, fd, 1));
