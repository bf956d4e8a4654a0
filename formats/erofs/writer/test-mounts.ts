/** Images on loop devices and in the hands of other tools, for tests; needs root. */
import { strict as assert } from "node:assert";
import { execFileSync } from "node:child_process";
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { BLOCK_SIZE } from "../../tree/index.ts";
import type { Sample } from "./test-trees.ts";
import { type ErofsImage, writeErofs } from "./write.ts";

const RUN_IN_LAB = fileURLToPath(new URL("../../../../samples/lab/run-in-lab.sh", import.meta.url));

/** A scratch directory and what was mounted from it; `close` undoes all, also after a failure. */
export class MountLab {
  readonly dir = mkdtempSync(join(tmpdir(), "erofs-writer-"));
  readonly #undo: (() => void)[] = [];

  close(): void {
    const failures: unknown[] = [];
    for (const undo of this.#undo.reverse()) {
      try {
        undo();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, `mounts are left in ${this.dir}`);
    rmSync(this.dir, { recursive: true });
  }

  /** A new empty directory. */
  directory(name: string): string {
    return mkdtempSync(join(this.dir, `${name}-`));
  }

  /** The image in one file: the metadata, then each blob at its place. */
  writeFlat(image: ErofsImage, blobs: readonly Buffer[]): string {
    const path = join(this.directory("flat"), "image.erofs");
    const fd = openSync(path, "w");
    try {
      writeSync(fd, image.meta);
      for (const [i, blob] of blobs.entries())
        writeSync(fd, blob, 0, blob.length, image.blobBaseBlocks[i]! * BLOCK_SIZE);
      ftruncateSync(fd, image.totalBlocks * BLOCK_SIZE);
    } finally {
      closeSync(fd);
    }
    return path;
  }

  /** The image in one file for the metadata and one for each blob. */
  writeParts(image: ErofsImage, blobs: readonly Buffer[]): { meta: string; blobs: string[] } {
    const dir = this.directory("parts");
    const write = (name: string, bytes: Uint8Array) => {
      writeFileSync(join(dir, name), bytes);
      return join(dir, name);
    };
    return { meta: write("meta.erofs", image.meta), blobs: blobs.map((blob, i) => write(`blob-${i}`, blob)) };
  }

  /** Mounts a file, with more files as `device=`, all through loop devices. Returns the mount point. */
  mount(meta: string, devices: readonly string[] = []): string {
    const options = ["ro", ...devices.map((file) => `device=${this.#loop(file)}`)].join(",");
    const target = this.directory("mnt");
    execFileSync("mount", ["-t", "erofs", "-o", options, this.#loop(meta), target]);
    this.#undo.push(() => execFileSync("umount", [target]));
    return target;
  }

  /** Extracts an image with fsck.erofs: Debian stable's, or the lab's. Returns the directory. */
  extract(current: boolean, image: string, devices: readonly string[] = []): string {
    const into = this.directory("extracted");
    // On tmpfs, as ext4 keeps no times after 2446.
    execFileSync("mount", ["-t", "tmpfs", "tmpfs", into]);
    this.#undo.push(() => execFileSync("umount", [into]));
    const args = [
      `--extract=${into}`,
      "--overwrite",
      "--preserve",
      ...devices.map((file) => `--device=${file}`),
      image,
    ];
    if (current) silent(RUN_IN_LAB, ["--part", "utils", "--bind", this.dir, "--", "fsck.erofs", ...args]);
    else silent("fsck.erofs", args);
    return into;
  }

  #loop(file: string): string {
    const device = execFileSync("losetup", ["--find", "--show", "--read-only", file], { encoding: "utf8" }).trim();
    this.#undo.push(() => execFileSync("losetup", ["--detach", device]));
    return device;
  }

  /** A sample mounted in each way that the kernel knows, by the way's name. */
  mountEveryWay({ tree, blobs }: Sample): Record<string, string> {
    const flat = writeErofs(tree, { layout: "flat" });
    const devices = writeErofs(tree, { layout: "devices" });
    const parts = this.writeParts(devices, blobs);
    return {
      flat: this.mount(this.writeFlat(flat, blobs)),
      "one device a blob": this.mount(parts.meta, parts.blobs),
      "devices, concatenated": this.mount(this.writeFlat(devices, blobs)),
    };
  }
}

/** Runs Debian stable's fsck.erofs and the lab's current one; both must accept the image. */
export function fsck(image: string, devices: readonly string[] = []): void {
  const args = [...devices.map((file) => `--device=${file}`), image];
  silent("fsck.erofs", args);
  const binds = [image, ...devices].flatMap((file) => ["--bind", file]);
  silent(RUN_IN_LAB, ["--part", "utils", ...binds, "--", "fsck.erofs", ...args]);
}

/** Errors of fsck.erofs show in its text, not always in its exit status. */
function silent(command: string, args: readonly string[]): void {
  const output = execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  assert.doesNotMatch(output, /<E>|corrupt/i);
}
