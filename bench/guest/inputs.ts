import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createGunzip, gzipSync } from "node:zlib";
import { buildTar, busyboxLayer, erofsify, run } from "../../builder/testkit/index.ts";

/** The folder in the image, and below the unpacked tree's parent, that is read. */
export const TREE = "linux-source-6.1";
/** Where guests have the reader of readtree.c. */
export const READER = "/bin/readtree";
/**
 * Where they have GNU tar, as images and their users do. busybox's tar reads nothing: it has sendfile(2) hand tmpfs's
 * pages to the pipe as they are, which tells nothing of reading a file.
 */
export const GNU_TAR = "/usr/bin/tar";
const TAG = "bench";
const APPLETS = ["sh", "cat", "cp", "echo", "grep", "mkdir", "mount", "sleep", "sync", "tar", "umount", "wc"];
/** A root that cannot be written needs its mount points. */
const MOUNT_POINTS = ["dev/", "proc/", "sys/", "tmp/", "mnt/"];

/** What guests read, made from the same tar.gz. */
export interface Inputs {
  readonly storeRoot: string;
  /** Names an image of busybox and the reader. */
  readonly toolsImage: string;
  /** Names an image of busybox, the reader and the tree: metadata and two blobs. */
  readonly treeImage: string;
  /** The same image as one flat file. */
  readonly flatPath: string;
  /** A folder with the tree, unpacked by tar. */
  readonly unpackedPath: string;
  /** The reader, which runs on the host too. */
  readonly readerPath: string;
}

/** Makes all that guests read, in `work`. */
export async function makeInputs(work: string, linuxSource: string): Promise<Inputs> {
  const readerPath = await compileReader(work);
  const tools = gzipSync(buildTar(await toolEntries(readerPath)));
  const toolsPath = join(work, "tools.tar.gz");
  await writeFile(toolsPath, tools);
  const storeRoot = join(work, "store");
  const layout = (name: string) => join(work, name);
  await writeLayout(layout("tools"), [toolsPath]);
  await writeLayout(layout("tree"), [toolsPath, linuxSource]);
  const images = { toolsImage: `oci:${layout("tools")}:${TAG}`, treeImage: `oci:${layout("tree")}:${TAG}` };
  const flatPath = join(work, "flat.erofs");
  await convert(["--store", storeRoot, images.toolsImage]);
  await convert(["--store", storeRoot, images.treeImage]);
  await convert(["--store", storeRoot, "--single", flatPath, images.treeImage]);
  const unpackedPath = join(work, "unpacked");
  await mkdir(unpackedPath);
  await run("tar", ["-xzf", linuxSource, "-C", unpackedPath]);
  return { storeRoot, ...images, flatPath, unpackedPath, readerPath };
}

/**
 * Compiles readtree.c into `folder`; gcc alone is enough, the program needs no libc.
 * @returns the program's path
 */
export async function compileReader(folder: string): Promise<string> {
  // This file is dist/bench/guest/inputs.js when it runs.
  const source = fileURLToPath(new URL("../../../bench/guest/readtree.c", import.meta.url));
  const path = join(folder, "readtree");
  const freestanding = ["-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector"];
  await run("gcc", ["-O2", ...freestanding, "-o", path, source]);
  return path;
}

async function toolEntries(readerPath: string) {
  return [
    ...MOUNT_POINTS.map((name) => ({ name, type: "5" })),
    ...busyboxLayer(APPLETS),
    { name: READER.slice(1), mode: 0o755, content: await readFile(readerPath) },
    ...(await hostProgram("/bin/tar", GNU_TAR)),
  ];
}

/** A program of this machine with the libraries that it is linked to, at their own places. */
async function hostProgram(path: string, as: string) {
  const { stdout } = await run("ldd", [path]);
  const libraries = [...stdout.matchAll(/(?:=> |^\s+)(\/\S+) \(0x/gm)].map(([, library]) => library!);
  const files = [[path, as], ...libraries.map((library) => [library, library])] as const;
  return Promise.all(
    files.map(async ([from, to]) => ({ name: to!.slice(1), mode: 0o755, content: await readFile(from!) })),
  );
}

/** Writes an OCI layout with one image of these tar.gz files. */
async function writeLayout(directory: string, layerPaths: readonly string[]): Promise<void> {
  const blobs = join(directory, "blobs/sha256");
  await mkdir(blobs, { recursive: true });
  const putJson = async (mediaType: string, value: unknown) => {
    const bytes = Buffer.from(JSON.stringify(value));
    const hex = createHash("sha256").update(bytes).digest("hex");
    await writeFile(join(blobs, hex), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const layers = await Promise.all(layerPaths.map(digestsOf));
  for (const { path, hex } of layers) await copyFile(path, join(blobs, hex));
  const config = await putJson("application/vnd.oci.image.config.v1+json", {
    architecture: "amd64",
    os: "linux",
    config: { Cmd: ["sh"] },
    rootfs: { type: "layers", diff_ids: layers.map(({ diffHex }) => `sha256:${diffHex}`) },
  });
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const manifest = await putJson(mediaType, {
    schemaVersion: 2,
    mediaType,
    config,
    layers: layers.map(({ hex, size }) => ({
      mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
      digest: `sha256:${hex}`,
      size,
    })),
  });
  const annotations = { "org.opencontainers.image.ref.name": TAG };
  await writeFile(
    join(directory, "index.json"),
    JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
  );
  await writeFile(join(directory, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
}

/** Digests of a gzip file and of what is in it. */
async function digestsOf(path: string) {
  const [outer, inner] = [createHash("sha256"), createHash("sha256")];
  let size = 0;
  const file = createReadStream(path, { highWaterMark: 1 << 20 });
  file.on("data", (chunk) => {
    outer.update(chunk);
    size += chunk.length;
  });
  for await (const chunk of file.pipe(createGunzip({ chunkSize: 1 << 20 }))) inner.update(chunk as Buffer);
  return { path, size, hex: outer.digest("hex"), diffHex: inner.digest("hex") };
}

async function convert(args: readonly string[]): Promise<void> {
  const { status, stderr } = await erofsify(["convert", "--quiet", ...args]);
  if (status !== 0) throw new Error(`erofsify convert ${args.join(" ")}: ${stderr}`);
}
