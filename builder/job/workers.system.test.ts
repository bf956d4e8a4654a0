import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Postgres, type Registry, run, startPostgres, startRegistry, tempDir } from "../testkit/index.ts";
import { openDatabase } from "./database/index.ts";
import {
  AUTHORIZATION,
  authorizationFile,
  freePort,
  getManifest,
  JobClient,
  type JobProcess,
  putImage,
  startJob,
  tinyImage,
  until,
} from "./testkit/index.ts";

// Several workers on Debian's PostgreSQL: a hundred pushes at once, and one worker killed in the middle.

const IMAGES = 100;
const directory = tempDir();
let postgres: Postgres;
let registry: Registry;
let service: JobProcess;
let client: JobClient;
const workers: JobProcess[] = [];
let common: string[];

before(async () => {
  const port = await freePort();
  postgres = await startPostgres();
  registry = await startRegistry({
    notify: { url: `http://127.0.0.1:${port}/api/v1/notifications`, authorization: AUTHORIZATION },
  });
  const config = join(directory, "job.json");
  const retries = { limit: 3, delaySeconds: 1 };
  await run("tee", [config], { input: JSON.stringify({ registries: [registry.host], retries }) });
  common = ["--config", config, "--database", postgres.url];
  service = await startJob([
    ...["serve", "--listen", `127.0.0.1:${port}`, "--conversions", "0", ...common],
    ...["--authorization-file", authorizationFile(directory)],
  ]);
  client = new JobClient(port);
});
after(async () => {
  await Promise.all([service, ...workers].map((one) => one.stop()));
  await registry.stop();
  await postgres.stop();
});

/** A clock that is an hour ahead. */
const AHEAD =
  "const D=Date;globalThis.Date=class extends D{constructor(...a){a.length?super(...a):super(D.now()+36e5)}" +
  "static now(){return D.now()+36e5}}";

/** Workers share no store, as on two machines; nor do their clocks agree. */
async function startWorker(name: string, ahead: boolean): Promise<JobProcess> {
  const env = ahead ? { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(AHEAD)}` } : {};
  const worker = await startJob(["work", ...common, "--store", join(directory, `store-${name}`)], env);
  workers.push(worker);
  return worker;
}

const name = (i: number) => `many/app${i}`;

test("a hundred pushes at once, two workers, one killed: every image is converted once, nothing is lost", async () => {
  const [first, second] = await Promise.all([startWorker("a", false), startWorker("b", true)]);
  const digests = await Promise.all(
    Array.from({ length: IMAGES }, (_, i) =>
      putImage(registry.host, name(i), "1", tinyImage([{ name: `file${i}`, content: `content ${i}` }])),
    ),
  );
  const done = async () => (await client.jobs("&status=done")).length;
  await until("a quarter is converted", async () => (await done()) >= IMAGES / 4, 120_000);
  await until("the first is in the middle of one", () => lastWord(first) === "converting", 30_000, 5);
  await first.kill();
  workers.splice(workers.indexOf(first), 1);
  await until("all are converted", async () => (await done()) >= IMAGES, 200_000, 250);

  const jobs = await client.jobs();
  assert.equal(jobs.length, IMAGES, "one conversion for each image");
  assert.deepEqual(new Set(jobs.map(({ digest }) => digest)), new Set(digests));
  const lost = jobs.filter(({ attempt }) => attempt > 1);
  assert.ok(lost.length >= 1 && lost.length <= 2, `${lost.length} were taken up again: what the dead worker held`);
  for (const { source, targetDigest } of jobs) {
    const repository = /\/(many\/app\d+):/.exec(source)![1]!;
    assert.equal((await getManifest(registry.host, repository, "1-erofs"))?.digest, targetDigest, source);
  }
  // By the workers' own accounts, too: each image was told as converted once.
  assert.match(second.log(), new RegExp(`"time":"${new Date(Date.now() + 3_500_000).toISOString().slice(0, 10)}`));
  const told = [first, second].flatMap((worker) => converted(worker.log()));
  assert.equal(new Set(told).size, told.length, "no conversion was told twice");
  assert.equal(told.length, IMAGES);
});

test("a connection that the server ends between two statements of a transaction fails it, and nothing else", async () => {
  const warnings: string[] = [];
  const database = await openDatabase(postgres.url, (message) => warnings.push(message));
  const transaction = database.transaction(async (sql) => {
    const [session] = await sql.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
    await run("psql", ["--no-psqlrc", "--command", `SELECT pg_terminate_backend(${session!.pid})`, postgres.url]);
    await until("the end of the connection is told", async () => warnings.length > 0);
    await sql.query("SELECT 1");
  });
  await assert.rejects(transaction);
  assert.match(warnings[0]!, /^PostgreSQL: /);
  assert.deepEqual(await database.query("SELECT 1 AS one"), [{ one: 1 }], "the pool makes a new connection");
  await database.close();
});

test("the database goes away and comes back: webhooks are refused meanwhile, so that the registry keeps them", async () => {
  const sql = (text: string) =>
    run("psql", ["--no-psqlrc", "--command", text, postgres.url.replace(/postgres$/, "template1")]);
  const database = "ALTER DATABASE postgres ALLOW_CONNECTIONS";
  await sql(`${database} false`);
  await sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'");
  const refused = await client.fetch("/api/v1/conversions", {
    method: "POST",
    body: JSON.stringify({
      type: "PUSH_ARTIFACT",
      event_data: { resources: [{ resource_url: `${registry.host}/a/b:1` }] },
    }),
  });
  assert.equal(refused.status, 503);
  assert.equal((await fetch(`${client.url}/readyz`)).status, 503);
  assert.equal((await fetch(`${client.url}/healthz`)).status, 200);
  await putImage(registry.host, "late/app", "1", tinyImage([{ name: "late" }]));
  await sql(`${database} true`);
  await until("the push made meanwhile is converted", async () =>
    (await client.jobs("&status=done")).some(({ source }) => source.includes("late/app")),
  );
});

function lastWord(worker: JobProcess): string | undefined {
  const lines = worker.log().trim().split("\n");
  return /"msg":"([^"]*)"/.exec(lines.at(-1) ?? "")?.[1];
}

/** Ids of the conversions that a worker's log tells as done. */
function converted(log: string): string[] {
  return [...log.matchAll(/"id":"([^"]+)"[^\n]*"msg":"converted"/g)].map(([, id]) => id!);
}
