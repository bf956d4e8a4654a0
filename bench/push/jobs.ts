import { randomBytes } from "node:crypto";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  AUTHORIZATION,
  authorizationFile,
  freePort,
  JobClient,
  type JobProcess,
  putImage,
  startJob,
  tinyImage,
  until,
} from "../../builder/job/testkit/index.ts";
import { pushImage, type Registry, startPostgres, startRegistry } from "../../builder/testkit/index.ts";
import { erofsify } from "../convert/index.ts";
import type { QuietOptions } from "../kit/index.ts";
import { type Inputs, TAG } from "./inputs.ts";
import { sample, timed } from "./sample.ts";

/** Images that are pushed at once, and the bytes of each that do not compress. */
const IMAGES = 30;
const IMAGE_BYTES = 2_000_000;
const PATIENCE_MS = 300_000;
/** Between looks at the list of jobs, which costs the service some ms. */
const LOOK_MS = 200;

export interface JobsResult {
  readonly images: number;
  readonly imageBytes: number;
  /** Conversions a minute, by the number of workers. */
  readonly perMinute: readonly { readonly workers: number; readonly value: number; readonly disturbed: boolean }[];
  /** The three-layer image, in seconds: from the registry's word of its push to the converted form's being there … */
  readonly endToEnd: number;
  /** … and by hand: `erofsify IMAGE`, then `erofsify push`. */
  readonly convert: number;
  readonly push: number;
  readonly disturbed: boolean;
}

/** How many conversions the job does a minute, and what one costs from push to push. */
export async function measureJobs(inputs: Inputs, quiet: QuietOptions): Promise<JobsResult> {
  const postgres = await startPostgres();
  const port = await freePort();
  const registry = await startRegistry({
    notify: { url: `http://127.0.0.1:${port}/api/v1/notifications`, authorization: AUTHORIZATION },
  });
  const running: JobProcess[] = [];
  try {
    const config = join(inputs.work, "job.json");
    writeFileSync(config, JSON.stringify({ registries: [registry.host] }));
    const common = ["--config", config, "--database", postgres.url];
    const serve = ["serve", "--listen", `127.0.0.1:${port}`, "--conversions", "0", ...common];
    running.push(await startJob([...serve, "--authorization-file", authorizationFile(inputs.work)]));
    const client = new JobClient(port);
    const addWorker = async (name: string) =>
      running.push(await startJob(["work", "--conversions", "1", ...common, "--store", join(inputs.work, name)]));
    const perMinute = [];
    for (const workers of [1, 2]) {
      await addWorker(`worker-${workers}`);
      const { seconds, disturbed } = await timed(quiet, () => pushMany(registry, client, `many${workers}`));
      perMinute.push({ workers, value: (IMAGES / seconds) * 60, disturbed });
    }
    return { images: IMAGES, imageBytes: IMAGE_BYTES, perMinute, ...(await endToEnd(inputs, registry, client, quiet)) };
  } finally {
    await Promise.all(running.map((one) => one.stop()));
    await registry.stop();
    await postgres.stop();
  }
}

/** Pushes images as quickly as the registry takes them, and waits until all are converted. */
async function pushMany({ host }: Registry, client: JobClient, name: string): Promise<void> {
  const images = Array.from({ length: IMAGES }, () =>
    tinyImage([
      { name: "data", content: randomBytes(IMAGE_BYTES) },
      { name: "text", content: "text\n".repeat(1000) },
    ]),
  );
  const before = (await client.jobs("&status=done")).length;
  await Promise.all(images.map((image, i) => putImage(host, `${name}/app${i}`, "1", image)));
  const done = async () => (await client.jobs("&status=done")).length - before >= IMAGES;
  await until("all are converted", done, PATIENCE_MS, LOOK_MS);
}

/** Workers are idle and have nothing of the image in their stores. */
async function endToEnd({ work, layout }: Inputs, registry: Registry, client: JobClient, quiet: QuietOptions) {
  const reference = `${registry.host}/large/app:${TAG}`;
  const one = await timed(quiet, async () => {
    await pushImage(layout.layout, TAG, reference);
    const find = async () => (await client.jobs("&status=done")).find(({ source }) => source.startsWith(reference));
    await until("the large image is converted", async () => (await find()) !== undefined, PATIENCE_MS, LOOK_MS);
    const { created, finished } = (await find())!;
    return (Date.parse(finished!) - Date.parse(created)) / 1000;
  });
  const store = join(work, "by-hand");
  const convert = await sample(erofsify(["--quiet", "--store", store, reference]), work, quiet);
  const to = `${registry.host}/by-hand/app:1`;
  const push = await sample(erofsify(["push", "--quiet", "--store", store, reference, "--to", to]), work, quiet);
  rmSync(store, { recursive: true });
  return {
    endToEnd: one.result,
    convert: convert.wallSeconds,
    push: push.wallSeconds,
    disturbed: one.disturbed || convert.disturbed || push.disturbed,
  };
}
