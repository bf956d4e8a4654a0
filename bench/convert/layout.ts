import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** The parts of an OCI descriptor that are used here. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** An image in an OCI layout: its manifest's layers, and its config's fields. */
export interface LayoutImage {
  readonly layout: string;
  readonly layers: readonly Descriptor[];
  readonly config: { readonly rootfs: { readonly diff_ids: readonly string[] } };
}

/** Reads the only image of a layout. */
export function readLayout(layout: string): LayoutImage {
  const json = (path: string) => JSON.parse(readFileSync(path, "utf8"));
  const [manifestOf] = json(join(layout, "index.json")).manifests as [Descriptor];
  const manifest = json(blobPath(layout, manifestOf.digest)) as { config: Descriptor; layers: Descriptor[] };
  return { layout, layers: manifest.layers, config: json(blobPath(layout, manifest.config.digest)) };
}

/** Where a layout keeps what has this digest. */
export function blobPath(layout: string, digest: string): string {
  return join(layout, "blobs", digest.replace(":", "/"));
}

/** `sha256:` and the digest of bytes in hex. */
export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}
