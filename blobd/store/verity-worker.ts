/** A worker thread that computes digests of blocks. Started by verity-pool.ts. */
import { parentPort } from "node:worker_threads";
import { VERITY_SALT } from "../../formats/verity/index.ts";
import { blockDigests } from "../sys/index.ts";

/** Addresses in the process's memory, which whoever asks holds until the answer. */
export interface DigestRequest {
  readonly address: number;
  readonly blocks: number;
  readonly out: number;
}

const digests = blockDigests(VERITY_SALT);
parentPort?.on("message", ({ address, blocks, out }: DigestRequest) => {
  digests.hash(address, blocks, out);
  parentPort?.postMessage(null);
});
