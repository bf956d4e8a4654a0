import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { erofsify, type Registry, run, startRegistry, tempDir } from "../testkit/index.ts";
import {
  AUTHORIZATION,
  authorizationFile,
  conversionsOf,
  freePort,
  getManifest,
  isConversion,
  JobClient,
  type JobProcess,
  putImage,
  startJob,
  tinyImage,
  until,
} from "./testkit/index.ts";

// The embedded queue: the service and its conversions are killed in the middle of a hundred of them, and started again.

const directory = tempDir();
const store = join(directory, "store");
let registry: Registry;
let service: JobProcess;
let client: JobClient;
let args: string[];

before(async () => {
  const port = await freePort();
  registry = await startRegistry({
    notify: { url: `http://127.0.0.1:${port}/api/v1/notifications`, authorization: AUTHORIZATION },
  });
  const config = join(directory, "job.json");
  const retries = { limit: 3, delaySeconds: 1 };
  await run("tee", [config], { input: JSON.stringify({ registries: [registry.host], retries }) });
  args = ["serve", "--listen", `127.0.0.1:${port}`, "--config", config, "--store", store, "--conversions", "2"];
  args.push("--database", join(directory, "queue"), "--authorization-file", authorizationFile(directory));
  service = await startJob(args);
  client = new JobClient(port);
});
after(async () => {
  await service.stop();
  await registry.stop();
});

const done = async () => (await client.jobs("&status=done")).length;

test("a hundred pushes at once, killed in the middle, started again: nothing lost, nothing twice, nothing left behind", async () => {
  const images = Array.from({ length: 100 }, (_, i) => `restart/app${i}`);
  await Promise.all(images.map((name) => putImage(registry.host, name, "1", tinyImage([{ name, content: name }]))));
  await until("some are converted", async () => (await done()) >= 30, 120_000);
  await until("conversions are under way", () => conversionsOf(service).length > 0, 30_000, 5);
  const orphans = conversionsOf(service);
  await service.kill();
  await until("conversions have ended with their worker", () => !orphans.some(isConversion), 10_000);
  // While nobody listens, the registry keeps what it has to tell.
  await putImage(registry.host, "restart/later", "1", tinyImage([{ name: "later" }]));
  service = await startJob(args);
  await until("all are converted", async () => (await done()) === images.length + 1, 200_000, 250);
  const jobs = await client.jobs();
  assert.equal(jobs.length, images.length + 1, "one conversion for each");
  const again = jobs.filter(({ attempt }) => attempt > 1).length;
  assert.ok(again <= 2, `${again} were taken up again: at most what was under way`);
  for (const { source, targetDigest } of jobs) {
    const repository = /\/(restart\/\w+):/.exec(source)![1]!;
    assert.equal((await getManifest(registry.host, repository, "1-erofs"))?.digest, targetDigest, source);
  }
  await until("the store has no leftovers", async () => {
    await erofsify(["prune", "--store", store]);
    return readdirSync(join(store, "tmp")).length === 0;
  });
});
