/** dm-verity: hash trees behind data, as Linux and veritysetup read them. Drawn in format.ts. */
export {
  DIGEST_BYTES,
  DIGESTS_PER_BLOCK,
  treeOffset,
  VERITY_ALGORITHM,
  VERITY_BLOCK,
  VERITY_SALT,
  type VerityRoot,
} from "./format.ts";
export { blockDigest, type VerityTail, verityTail } from "./tree.ts";
