import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { type BlobsConfig, checkBlobs } from "./config.ts";

/** What threads share, as a plain description: descriptors of the process. */
export interface BlobsShared {
  readonly files: readonly {
    readonly name: string;
    readonly fd: number;
    /** One that can write, for mapping; -1 when nothing is mapped. */
    readonly mapFd: number;
    readonly size: number;
    readonly mtimeSeconds: number;
  }[];
}

/** Opens the files. @throws SysError, RangeError */
export function createBlobsShared(config: BlobsConfig): BlobsShared {
  checkBlobs(config);
  const maps = config.daxTrusted === true && (config.dax ?? "never") !== "never";
  const files: BlobsShared["files"][number][] = [];
  try {
    for (const { name, path } of config.files) {
      const fd = openSync(path, constants.O_RDONLY);
      files.push({ name, fd, mapFd: -1, size: 0, mtimeSeconds: 0 });
      const { size, mtimeMs } = fstatSync(fd);
      const mapFd = maps ? openSync(path, constants.O_RDWR) : -1;
      files[files.length - 1] = { name, fd, mapFd, size, mtimeSeconds: Math.floor(mtimeMs / 1000) };
    }
    return { files };
  } catch (error) {
    closeBlobsShared({ files });
    throw error;
  }
}

export function closeBlobsShared({ files }: BlobsShared): void {
  for (const { fd, mapFd } of files) {
    closeSync(fd);
    if (mapFd >= 0) closeSync(mapFd);
  }
}
