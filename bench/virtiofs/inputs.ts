import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { compileFsload, type GuestImage, imageOfEntries } from "../../builder/guestkit/index.ts";
import { buildTar, busyboxLayer, run } from "../../builder/testkit/index.ts";
import { CASES } from "./case.ts";
import { LARGE_BYTES, SMALL_BYTES, SMALL_FILES, scratchOf, TREE_FILES, TREE_FOLDERS } from "./rows.ts";

const APPLETS = ["sh", "cat", "base64", "chmod", "cp", "dd", "ls", "mkdir", "mount", "rm", "sync", "umount"];
const FOLDERS = ["dev/", "proc/", "sys/", "tmp/", "volume/"];
/** Bytes of the tree's files: as of small source files. */
const TREE_FILE_BYTES = [200, 1500, 4000, 12_000] as const;

export interface Inputs {
  /** The guests' root: busybox, fsload and the tar. */
  readonly image: GuestImage;
  /** The folder that all cases serve. */
  readonly folder: string;
  /** fsload, which runs on the host too. */
  readonly fsloadPath: string;
}

/** Makes what guests read, and their root, in `work`. */
export async function makeInputs(work: string): Promise<Inputs> {
  const fsloadPath = await compileFsload(work);
  const image = await imageOfEntries(
    [
      ...FOLDERS.map((name) => ({ name, type: "5" })),
      ...busyboxLayer(APPLETS),
      { name: "bin/fsload", mode: 0o755, content: await readFile(fsloadPath) },
      { name: "tree.tar", content: buildTar(treeEntries()) },
    ],
    work,
  );
  const folder = join(work, "folder");
  await mkdir(join(folder, "small"), { recursive: true });
  await mkdir(join(folder, "scratch"));
  for (const { id } of CASES) await mkdir(join(folder, scratchOf(id)));
  await run(fsloadPath, ["make", join(folder, "small"), String(SMALL_FILES), String(SMALL_BYTES)]);
  await run(fsloadPath, ["fill", join(folder, "large"), String(LARGE_BYTES)]);
  await writeFile(join(folder, "here"), "");
  return { image, folder, fsloadPath };
}

function treeEntries() {
  const folders = Array.from({ length: TREE_FOLDERS }, (_, i) => ({ name: `tree/folder-${i}/`, type: "5" }));
  const files = Array.from({ length: TREE_FILES }, (_, i) => ({
    name: `tree/folder-${i % TREE_FOLDERS}/source-file-${i}.c`,
    content: "x".repeat(TREE_FILE_BYTES[i % TREE_FILE_BYTES.length]!),
  }));
  return [{ name: "tree/", type: "5" }, ...folders, ...files];
}
