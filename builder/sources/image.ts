/** What is known of an image once it is found: plain data, sent to worker threads as it is. */
import type { RepositoryAccess } from "../../blobd/registry/index.ts";
import type { Compression, Digest, ImageConfig, Platform } from "../../formats/oci/index.ts";
import type { SourceSpec } from "../names/index.ts";

/** One layer, as its source stores it. Plain data. */
export interface LayerInfo {
  /** sha256 of the stored bytes. Null only for `dir:`, which has no bytes to hash: convert it anew every time. */
  readonly digest: Digest | null;
  /** Of the stored bytes; 0 for `dir:`. */
  readonly size: number;
  readonly mediaType: string;
  readonly compression: Compression;
  /** sha256 of the unpacked tar, where the config tells. */
  readonly diffId?: Digest;
  /** Other places of a foreign layer. */
  readonly urls?: readonly string[];
}

/** An image found: what it is, and all that is needed to read its layers. Plain data. */
export interface ResolvedImage {
  readonly spec: SourceSpec;
  /** For people and provenance: the source by the digest of what was found in it, where it has digests. */
  readonly reference: string;
  /** Of the image's own manifest, not of an index around it. Null where there is none (docker-archive, tar, dir). */
  readonly manifestDigest: Digest | null;
  readonly platform: Platform;
  readonly config: ImageConfig;
  /** Bottom first. */
  readonly layers: readonly LayerInfo[];
  readonly access: LayerAccess;
}

/** How to get at an image's layers again, from any thread. Plain data, of no concern to users. */
export type LayerAccess =
  | RegistryAccess
  | { readonly kind: "layout"; readonly path: string }
  | { readonly kind: "archive"; readonly path: string; readonly members: Readonly<Record<string, Member>> }
  | { readonly kind: "tar"; readonly path: string; readonly identity: FileIdentity }
  | { readonly kind: "dir"; readonly path: string };

/** How the registry of an image was reached. */
export interface RegistryAccess extends RepositoryAccess {
  readonly kind: "registry";
}

/** Where a member's bytes lie in an archive. */
export interface Member {
  /** From the start of the file, in bytes. */
  readonly offset: number;
  readonly size: number;
}

/** What tells a file apart from what it was before: enough to skip hashing it a second time. */
export interface FileIdentity {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}
