import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Deployment } from "kubernetes-models/apps/v1/Deployment";
import { Job } from "kubernetes-models/batch/v1/Job";
import { ConfigMap } from "kubernetes-models/v1/ConfigMap";
import { PersistentVolumeClaim } from "kubernetes-models/v1/PersistentVolumeClaim";
import { Secret } from "kubernetes-models/v1/Secret";
import { Service } from "kubernetes-models/v1/Service";
import { parseAllDocuments } from "yaml";
import {
  freePort,
  getManifest,
  JobClient,
  putImage,
  startJob,
  tinyImage,
  until,
} from "../../builder/job/testkit/index.ts";
import {
  erofsify,
  type Postgres,
  type Registry,
  startPostgres,
  startRegistry,
  tempDir,
} from "../../builder/testkit/index.ts";

// The manifests against Kubernetes' own schema, and what they start, started here with the same words.

const KINDS = { ConfigMap, Deployment, Job, PersistentVolumeClaim, Secret, Service } as const;
interface Manifest {
  readonly kind: keyof typeof KINDS;
  readonly metadata: { readonly name?: string };
}
/** As much of a container as is used here. */
interface Container {
  readonly args: readonly string[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly livenessProbe: { readonly httpGet: { readonly path: string } };
  readonly readinessProbe: { readonly httpGet: { readonly path: string } };
  readonly volumeMounts: readonly { readonly mountPath: string; readonly name: string }[];
}

const FILES = ["job.yaml", "workers.yaml", "convert-once.yaml"];
const read = (file: string): Manifest[] =>
  parseAllDocuments(readFileSync(join("samples/kubernetes", file), "utf8")).map((document) => {
    assert.deepEqual(document.errors, []);
    return document.toJS() as Manifest;
  });
const all = FILES.flatMap(read);
// biome-ignore lint/suspicious/noExplicitAny: manifests are looked into by their well-known fields.
const find = (kind: string, name?: string): any =>
  all.find((one) => one.kind === kind && (name === undefined || one.metadata.name === name));

for (const manifest of all)
  test(`${manifest.kind} ${manifest.metadata.name ?? ""} is what Kubernetes' schema wants`, () => {
    const Model = KINDS[manifest.kind];
    assert.ok(Model, manifest.kind);
    new Model(manifest as never).validate();
  });

test("a value of a wrong kind is found", () => {
  const wrong = structuredClone(find("Deployment", "erofsify-job"));
  wrong.spec.replicas = "one";
  assert.throws(() => new Deployment(wrong).validate(), /replicas/);
});

test("what is mounted is a volume, and what a volume is of is there", () => {
  for (const { spec } of [find("Deployment", "erofsify-job"), find("Deployment", "erofsify-worker"), find("Job")]) {
    const { containers, volumes } = spec.template.spec;
    const names = volumes.map(({ name }: { name: string }) => name);
    for (const { name } of containers[0].volumeMounts) assert.ok(names.includes(name), name);
    for (const { configMap, secret, persistentVolumeClaim } of volumes) {
      if (configMap) assert.ok(find("ConfigMap", configMap.name));
      if (secret) assert.ok(find("Secret", secret.secretName));
      if (persistentVolumeClaim) assert.ok(find("PersistentVolumeClaim", persistentVolumeClaim.claimName));
    }
  }
});

const directory = tempDir();
let registry: Registry;
let postgres: Postgres;

before(async () => {
  registry = await startRegistry();
  postgres = await startPostgres();
  for (const folder of ["etc/erofsify", "run/erofsify", "run/registry", "var/lib/erofsify"])
    mkdirSync(join(directory, folder), { recursive: true });
  const config = find("ConfigMap").data["job.json"].replaceAll("registry.example.com", registry.host);
  writeFileSync(join(directory, "etc/erofsify/job.json"), config);
  const { authorization } = find("Secret", "erofsify-job-authorization").stringData;
  writeFileSync(join(directory, "run/erofsify/authorization"), authorization);
  const docker = find("Secret", "erofsify-registry").stringData[".dockerconfigjson"];
  writeFileSync(join(directory, "run/registry/config.json"), docker);
});
after(async () => {
  await registry.stop();
  await postgres.stop();
});

/** A container's arguments with this machine's folders, registry and ports in place of the cluster's. */
function local(container: Container, port: number): string[] {
  return container.args.map((arg) =>
    arg
      .replace(/=(\/(?:etc|run|var)\/)/, `=${directory}$1`)
      .replace(/^--listen=0\.0\.0\.0:\d+$/, `--listen=127.0.0.1:${port}`)
      .replaceAll("registry.example.com", registry.host),
  );
}

const containerOf = (name: string): Container => find("Deployment", name).spec.template.spec.containers[0];
const env = () => ({ DOCKER_CONFIG: join(directory, "run/registry"), EROFSIFY_DATABASE: postgres.url });

async function probe(port: number, container: Container): Promise<void> {
  for (const { httpGet } of [container.livenessProbe, container.readinessProbe])
    assert.equal((await fetch(`http://127.0.0.1:${port}${httpGet.path}`)).status, 200);
}

test("the Deployment's pod takes a webhook and converts", async () => {
  const [port, container] = [await freePort(), containerOf("erofsify-job")];
  const pod = await startJob(local(container, port).slice(1), env());
  await probe(port, container);
  await putImage(registry.host, "team/app", "1.0", tinyImage([{ name: "file", content: "content" }]));
  const body = {
    type: "PUSH_ARTIFACT",
    event_data: { resources: [{ resource_url: `${registry.host}/team/app:1.0` }] },
  };
  const answer = await fetch(`http://127.0.0.1:${port}/api/v1/conversions?sync=true`, {
    method: "POST",
    headers: { authorization: "Bearer change-me" },
    body: JSON.stringify(body),
  });
  assert.deepEqual([answer.status, await answer.text()], [200, '"Ok"\n']);
  assert.ok(await getManifest(registry.host, "team/app", "1.0-erofs"));
  await pod.stop();
});

test("with workers: the service converts nothing, they do", async () => {
  const [port, workerPort] = [await freePort(), await freePort()];
  const args = local(containerOf("erofsify-job"), port).filter((arg) => !/--(?:database|conversions)=/.test(arg));
  const service = await startJob([...args.slice(1), "--conversions=0"], env());
  const container = containerOf("erofsify-worker");
  const worker = await startJob(local(container, workerPort).slice(1), env());
  await probe(workerPort, container);
  await putImage(registry.host, "team/other", "1", tinyImage([{ name: "other" }]));
  const client = new JobClient(port);
  const answer = await fetch(`${client.url}/api/v1/jobs`, {
    method: "POST",
    headers: { authorization: "Bearer change-me" },
    body: JSON.stringify({ reference: `${registry.host}/team/other:1` }),
  });
  assert.equal(answer.status, 202);
  await until("it is converted", async () => (await getManifest(registry.host, "team/other", "1-erofs")) !== undefined);
  await Promise.all([service.stop(), worker.stop()]);
});

test("the one-shot Job converts one image and ends", async () => {
  const container: Container = find("Job").spec.template.spec.containers[0];
  await putImage(registry.host, "team/app", "1.0", tinyImage([{ name: "again" }]));
  const { status, stdout, stderr } = await erofsify(local(container, 0), { env: env() });
  assert.equal(status, 0, stderr);
  assert.equal((await getManifest(registry.host, "team/app", "1.0-erofs"))?.digest, JSON.parse(stdout).manifestDigest);
});
