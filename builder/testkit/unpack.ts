import { mkdir } from "node:fs/promises";
import { run } from "./run.ts";

/**
 * Unpacks an image of an OCI layout with umoci, the reference for what an image holds. Needs root to keep owners,
 * devices and attributes.
 *
 * @param directory an absent directory
 * @returns the directory of the root file system, as given.
 */
export async function unpackWithUmoci(layout: string, tag: string, directory: string): Promise<string> {
  await run("umoci", ["raw", "unpack", "--image", `${layout}:${tag}`, directory]);
  return directory;
}

/**
 * Unpacks a tar, compressed or not, with GNU tar, the reference for formats that umoci does not know. Needs root.
 *
 * @param directory an absent directory
 * @returns the directory, as given.
 */
export async function unpackWithTar(tar: string, directory: string): Promise<string> {
  await mkdir(directory, { recursive: true });
  const attributes = ["--xattrs", "--xattrs-include=*", "--same-owner", "--numeric-owner", "--preserve-permissions"];
  await run("tar", ["--extract", "--file", tar, "--directory", directory, ...attributes, "--delay-directory-restore"]);
  return directory;
}
