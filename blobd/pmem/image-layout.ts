import { BLOCK_SIZE } from "../../formats/tree/index.ts";
import { type ImageFiles, readDevices } from "../images/index.ts";
import { WindowError, type WindowFile } from "./window.ts";

/**
 * An image's files where its metadata say that they lie on one flattened device: the metadata first, each blob at its unified
 * address.
 * @throws FormatError; WindowError for an image whose device table has no addresses
 */
export function imageLayout({ metaPath, devicePaths }: ImageFiles): WindowFile[] {
  const { devices } = readDevices(metaPath);
  const blobs = devicePaths.map((path, i) => {
    const address = devices[i]?.mappedBlkAddr ?? 0;
    if (address === 0)
      throw new WindowError(
        `${metaPath}: its blob ${i + 1} has no address, so that no single device can hold the image`,
      );
    return { path, offset: address * BLOCK_SIZE };
  });
  return [{ path: metaPath, offset: 0 }, ...blobs];
}
