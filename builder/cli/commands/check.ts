import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { verityRootOf } from "../../../blobd/store/index.ts";
import { checkErofs } from "../../../formats/erofs/check/index.ts";
import type { OpenedImage } from "../../open/index.ts";
import { CheckFailed } from "../exit.ts";
import { writeLines } from "../ui/output.ts";
import { formatBytes } from "../ui/units.ts";
import { type ImageOptions, withImage } from "./open.ts";

const DIGEST = /^[0-9a-f]{64}$/;

interface CheckOptions extends ImageOptions {
  readonly digests: boolean;
  readonly json?: boolean;
}

/** What is wrong with a blob. */
interface BlobProblem {
  readonly path: string;
  readonly detail: string;
}

export async function run(target: string, options: CheckOptions): Promise<void> {
  await withImage(target, options, async (image) => {
    // Ours, by the tags that are digests, must keep what our writer promises beyond the format.
    const strict = image.reader.devices.length > 0 && image.reader.devices.every(({ tag }) => DIGEST.test(tag));
    const { problems, problemCount, stats } = checkErofs(image.meta, { strict, content: strict });
    const blobs = options.digests
      ? [...(await checkBlobs(image)), ...(await checkTrees(image))]
      : checkBlobSizes(image);
    if (options.json) await writeLines([JSON.stringify({ problems, blobProblems: blobs, statistics: stats }, null, 2)]);
    else {
      await writeLines(
        problems.map(
          ({ field, path, offset, detail }) => `${path === "" ? "" : `${path}: `}${field} at byte ${offset}: ${detail}`,
        ),
      );
      await writeLines(blobs.map(({ path, detail }) => `${path}: ${detail}`));
    }
    const count = problemCount + blobs.length;
    if (count > 0) throw new CheckFailed(`${target}: ${count} problem${count === 1 ? "" : "s"} found`);
    if (!options.json) {
      const data = image.devices.reduce((sum, { size }) => sum + size, 0);
      const digests =
        image.devices.length === 0
          ? ""
          : options.digests
            ? `, ${formatBytes(data)} of blobs have their digests`
            : ", digests not checked";
      await writeLines([`${target}: good (${stats?.inodes} inodes${digests})`]);
    }
  });
}

function checkBlobSizes({ reader, devices }: OpenedImage): BlobProblem[] {
  return devices.flatMap(({ path, size }, index) => {
    const expected = (reader.devices[index]?.blocks ?? 0) * 4096;
    return size >= expected ? [] : [{ path, detail: `found ${size} bytes, expected ${expected} by the device table` }];
  });
}

async function checkBlobs(image: OpenedImage): Promise<BlobProblem[]> {
  const problems = checkBlobSizes(image);
  for (const [index, { path }] of image.devices.entries()) {
    const tag = image.reader.devices[index]?.tag ?? "";
    // Images of other writers name their devices as they like.
    if (!DIGEST.test(tag)) continue;
    const digest = await sha256(path);
    if (digest !== tag) problems.push({ path, detail: `found sha256 ${digest}, expected ${tag}` });
  }
  return problems;
}

/** That the hash trees' roots are those of the data: a kernel that is given them then accepts every block. */
async function checkTrees({ stored, metaPath, devicePaths }: OpenedImage): Promise<BlobProblem[]> {
  const problems: BlobProblem[] = [];
  const files = stored === undefined ? [] : [stored.record.meta, ...stored.record.blobs];
  for (const [index, { verity }] of files.entries()) {
    if (verity === undefined) continue;
    const path = [metaPath, ...devicePaths][index]!;
    const found = await verityRootOf(path, verity.dataBlocks);
    if (found !== verity.rootHex)
      problems.push({ path, detail: `the root of its hash tree is ${found}, expected ${verity.rootHex}` });
  }
  return problems;
}

async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest("hex");
}
