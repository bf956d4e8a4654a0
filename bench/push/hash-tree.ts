/** Prints the root of the hash tree over a file: `node hash-tree.js FILE BLOCKS`. */
import { verityRootOf } from "../../blobd/store/index.ts";

const [path, blocks] = process.argv.slice(2) as [string, string];
process.stdout.write(`${await verityRootOf(path, Number(blocks))}\n`);
process.exit();
