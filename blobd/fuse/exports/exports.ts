import { type BlobsConfig, type BlobsShared, closeBlobsShared, createBlobsShared, openBlobs } from "../blobfs/index.ts";
import type { DaxWindow } from "../dax-window.ts";
import type { FileSystem } from "../filesystem.ts";
import {
  closeImageShared,
  createImageShared,
  type ImageConfig,
  type ImageShared,
  openImage,
} from "../imagefs/index.ts";
import {
  closePassthroughShared,
  createPassthroughShared,
  type Inheritance,
  openPassthrough,
  type PassthroughConfig,
  type PassthroughHooks,
  type PassthroughShared,
} from "../passthrough/index.ts";

/** What is served, as a plain description: a directory when it has no `kind`. */
export type ExportConfig = PassthroughConfig | ImageConfig | BlobsConfig;

/** What its threads share, as a plain description: it means something in one process only. */
export type ExportShared =
  | { readonly kind: "directory"; readonly config: PassthroughConfig; readonly shared: PassthroughShared }
  | { readonly kind: "image"; readonly config: ImageConfig; readonly shared: ImageShared }
  | { readonly kind: "blobs"; readonly config: BlobsConfig; readonly shared: BlobsShared };

/**
 * Opens an export for the threads of this process.
 * @param inherited of a directory that another process has served
 * @throws FormatError, RangeError, SysError, as the file system does
 */
export function createExport(config: ExportConfig, inherited?: Inheritance): ExportShared {
  if (!("kind" in config)) return { kind: "directory", config, shared: createPassthroughShared(config, inherited) };
  return config.kind === "image"
    ? { kind: "image", config, shared: createImageShared(config) }
    : { kind: "blobs", config, shared: createBlobsShared(config) };
}

/**
 * Opens it in one thread.
 * @param window the device's, where there is one
 * @param hooks for a directory that another process may take over
 */
export function openExport(of: ExportShared, window?: DaxWindow, hooks?: PassthroughHooks): FileSystem {
  switch (of.kind) {
    case "directory":
      return openPassthrough(of.config, of.shared, window, hooks);
    case "image":
      return openImage(of.config, of.shared, window);
    case "blobs":
      return openBlobs(of.config, of.shared, window);
  }
}

/** Gives it back, when no thread uses it any more. */
export function closeExport(of: ExportShared): void {
  if (of.kind === "directory") closePassthroughShared(of.config, of.shared);
  else if (of.kind === "image") closeImageShared(of.shared);
  else closeBlobsShared(of.shared);
}
