import assert from "node:assert/strict";
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Registry, run, startRegistry, tempDir } from "../testkit/index.ts";
import {
  authorizationFile,
  freePort,
  getManifest,
  JobClient,
  type JobProcess,
  putImage,
  startJob,
  tinyImage,
} from "./testkit/index.ts";

// Registries that take nothing, lie or are slow: Debian's docker-registry behind a proxy that has a say in every request.

/** Answers a request in the registry's place and returns true, or leaves it alone. */
type Fault = (request: IncomingMessage, response: ServerResponse) => boolean;

const directory = tempDir();
let registry: Registry;
let proxy: Server;
let host: string;
let service: JobProcess;
let client: JobClient;
let fault: Fault = () => false;

before(async () => {
  registry = await startRegistry();
  proxy = createServer((incoming, outgoing) => {
    if (fault(incoming, outgoing)) {
      incoming.resume();
      return;
    }
    const { method, url, headers } = incoming;
    // The registry names itself by the Host header, so that uploads come through here too.
    const forwarded = request(`http://${registry.host}${url}`, { method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(outgoing);
    });
    incoming.pipe(forwarded);
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  host = `127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const config = join(directory, "job.json");
  const settings = { registries: [host], retries: { limit: 1, delaySeconds: 1 }, timeoutSeconds: 6 };
  await run("tee", [config], { input: JSON.stringify(settings) });
  const port = await freePort();
  service = await startJob([
    ...["serve", "--listen", `127.0.0.1:${port}`, "--config", config, "--store", join(directory, "store")],
    ...["--database", join(directory, "queue"), "--authorization-file", authorizationFile(directory)],
  ]);
  client = new JobClient(port);
});
after(async () => {
  await service.stop();
  proxy.closeAllConnections();
  proxy.close();
  await registry.stop();
});

const refuse = (response: ServerResponse, status: number, code: string, message: string) => {
  response
    .writeHead(status, { "content-type": "application/json" })
    .end(JSON.stringify({ errors: [{ code, message }] }));
  return true;
};
const writes: Fault = ({ method, headers }) =>
  headers["user-agent"] === "erofsify" && method !== "GET" && method !== "HEAD";

async function convert(name: string, how: Fault) {
  fault = () => false;
  await putImage(registry.host, name, "1", tinyImage([{ name, content: name }]));
  fault = how;
  const job = await client.waitFor(await client.start(`${host}/${name}:1`), "done", "failed");
  fault = () => false;
  if (job.status === "failed")
    assert.equal(await getManifest(registry.host, name, "1-erofs"), undefined, "nothing that looks whole is left");
  return job;
}

test("a registry that is read-only: tried again, then failed with the registry's words", async () => {
  const job = await convert(
    "readonly/app",
    (incoming, response) =>
      writes(incoming, response) && refuse(response, 405, "UNSUPPORTED", "The operation is unsupported."),
  );
  assert.deepEqual([job.status, job.attempt], ["failed", 2]);
  assert.match(job.reason!, /405.*The operation is unsupported/);
});

test("a quota that is used up is no matter of another attempt", async () => {
  const message = "adding 4.0 MiB of storage resource will exceed the configured upper limit of 10.0 MiB";
  const job = await convert(
    "quota/app",
    (incoming, response) => writes(incoming, response) && refuse(response, 403, "DENIED", message),
  );
  assert.deepEqual([job.status, job.attempt], ["failed", 1]);
  assert.match(job.reason!, /exceed the configured upper limit/);
});

test("a registry whose disk is full for the manifest, and has room again at the next attempt", async () => {
  let refused = 0;
  const job = await convert("full/app", ({ method, url }, response) => {
    if (method !== "PUT" || !url!.includes("/manifests/") || refused >= 5) return false;
    refused++;
    return refuse(response, 500, "UNKNOWN", "no space left on device");
  });
  assert.deepEqual([job.status, job.attempt, refused], ["done", 2, 5]);
});

test("an index that is its own entry", async () => {
  const digest = `sha256:${"0".repeat(64)}`;
  const mediaType = "application/vnd.oci.image.index.v1+json";
  const platform = { os: "linux", architecture: "amd64" };
  const body = JSON.stringify({ schemaVersion: 2, mediaType, manifests: [{ mediaType, digest, size: 300, platform }] });
  const job = await convert("self/app", ({ url }, response) => {
    if (!url!.startsWith("/v2/self/app/manifests/")) return false;
    response.writeHead(200, { "content-type": mediaType }).end(body);
    return true;
  });
  assert.equal(job.status, "failed");
  assert.match(job.reason!, /digest|sha256/);
});

test("a registry that falls silent: the conversion ends in its time, and the service goes on", async () => {
  let asked = 0;
  // The lookup's own request for the config is answered, and nothing after it.
  const job = await convert("silent/app", ({ url }) => url!.startsWith("/v2/silent/app/blobs/") && asked++ > 0);
  assert.deepEqual([job.status, job.errorCode, job.reason], ["failed", "ERR_TIMEOUT", "took longer than 6 s"]);
  assert.equal((await convert("after/app", () => false)).status, "done");
});

test("a registry that is not there", async () => {
  const job = await convert("broken/app", ({ url, socket }) => {
    if (!url!.includes("broken")) return false;
    socket.destroy();
    return true;
  });
  assert.deepEqual([job.status, job.attempt], ["failed", 2]);
});
