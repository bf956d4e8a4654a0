import { BLOCK_SIZE } from "../../tree/index.ts";
import { contentUuid } from "../content-uuid.ts";
import { SUPER_OFFSET, SuperBlock } from "../format.ts";
import type { Image } from "../reader/index.ts";
import type { Problems } from "./problems.ts";

/** Read and hashed at once, in bytes. */
const PIECE_BYTES = 1 << 20;

/** Whether the metadata is what the UUID was taken from. Only for our images with a device table. */
export function checkContent(image: Image, problems: Problems): void {
  const { superblock, devices } = image;
  problems.attempt(null, () => {
    const expected = contentUuid(
      metadata(image),
      devices.map(({ tag }) => tag),
    ).toString("hex");
    if (superblock.uuidHex === expected) return;
    const at = SUPER_OFFSET + SuperBlock.at.uuid;
    const detail = `found ${superblock.uuidHex}, the metadata has ${expected}: some of it has changed`;
    problems.add(null, "erofs_super_block.uuid", at, detail);
  });
}

function* metadata({ pages, superblock }: Image): Generator<Uint8Array> {
  const first = Buffer.from(pages.bytes(0, BLOCK_SIZE));
  first.fill(0, SUPER_OFFSET + SuperBlock.at.uuid, SUPER_OFFSET + SuperBlock.at.uuid + 16);
  first.fill(0, SUPER_OFFSET + SuperBlock.at.checksum, SUPER_OFFSET + SuperBlock.at.checksum + 4);
  yield first;
  const end = superblock.blocks * BLOCK_SIZE;
  for (let at = BLOCK_SIZE; at < end; at += PIECE_BYTES) yield pages.bytes(at, Math.min(PIECE_BYTES, end - at));
}
