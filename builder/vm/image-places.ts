import type { OpenedImage } from "../open/index.ts";
import { pmemDevices } from "./image-parts.ts";
import { guestMemory } from "./memory.ts";
import { type PlacedFile, pmemPlaces } from "./vmm/index.ts";

/**
 * Where a QEMU guest with this image has its files as memory.
 * @param memoryBytes the guest's memory, when it is not the default's
 * @param folder for copies, as of pmemDevices
 */
export async function imagePlaces(
  image: OpenedImage,
  memoryBytes: number | undefined,
  folder: string,
): Promise<PlacedFile[]> {
  const pmem = await pmemDevices(image, folder);
  return pmemPlaces({ memoryBytes: guestMemory(memoryBytes, pmem), pmem });
}
