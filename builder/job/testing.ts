/** For tests: the service as a process, and images that are pushed in three requests. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { buildTar, type TarEntry } from "../testkit/index.ts";

/** This file is dist/builder/job/testing.js when it runs. */
const MAIN = fileURLToPath(new URL("../cli/main.js", import.meta.url));
export const AUTHORIZATION = "Bearer s3cret";
const READY_TIMEOUT_MS = 60_000;

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A process of `erofsify job …`, its log read as it comes. */
export interface JobProcess {
  readonly child: ChildProcess;
  readonly log: () => string;
  /** Ends it by SIGTERM, waits. */
  stop(): Promise<void>;
  /** Ends it by SIGKILL, waits. */
  kill(): Promise<void>;
}

/** Starts `erofsify job serve` or `work` and waits until it is ready. */
export async function startJob(args: readonly string[], env: Record<string, string> = {}): Promise<JobProcess> {
  const child = spawn("setpriv", ["--pdeathsig", "KILL", "--", process.execPath, MAIN, "job", ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env.PATH, HOME: "/nonexistent", ...env },
  });
  let log = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text) => {
      log += text;
    });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const end = (signal: NodeJS.Signals) => {
    child.kill(signal);
    return ended;
  };
  await until(
    "the service is ready",
    () => {
      assert.equal(child.exitCode, null, log);
      return log.includes('"msg":"ready"');
    },
    READY_TIMEOUT_MS,
  );
  return { child, log: () => log, stop: () => end("SIGTERM"), kill: () => end("SIGKILL") };
}

/** Waits until something is true, and says what was waited for if that takes too long. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  timeoutMs = 60_000,
  everyMs = 50,
): Promise<void> {
  const endMs = Date.now() + timeoutMs;
  while (!(await holds())) {
    if (Date.now() > endMs) throw new Error(`waited ${timeoutMs / 1000} s until ${what}`);
    await delay(everyMs);
  }
}

export interface JobView {
  readonly id: string;
  readonly source: string;
  readonly target: string | null;
  readonly digest: string;
  readonly status: string;
  readonly reason: string | null;
  readonly errorCode: string | null;
  readonly attempt: number;
  readonly events: number;
  readonly sourceBytes: number | null;
  readonly targetBytes: number | null;
  readonly targetDigest: string | null;
}

/** Talks to a service on a loopback port. */
export class JobClient {
  readonly url: string;

  constructor(port: number) {
    this.url = `http://127.0.0.1:${port}`;
  }

  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`${this.url}${path}`, {
      redirect: "manual",
      ...init,
      headers: { authorization: AUTHORIZATION, ...(init.headers as Record<string, string>) },
    });
  }

  async jobs(query = ""): Promise<JobView[]> {
    const response = await this.fetch(`/api/v1/jobs?limit=500${query}`);
    assert.equal(response.status, 200);
    return (await response.json()) as JobView[];
  }

  /** Asks for a conversion; its id. */
  async start(reference: string, more: object = {}): Promise<string> {
    const body = JSON.stringify({ reference, ...more });
    const response = await this.fetch("/api/v1/jobs", { method: "POST", body });
    assert.equal(response.status, 202, await response.clone().text());
    return ((await response.json()) as { id: string }).id;
  }

  async job(id: string): Promise<JobView> {
    const response = await this.fetch(`/api/v1/jobs/${id}?follow=true`);
    assert.equal(response.status, 200);
    return (await response.json()) as JobView;
  }

  /** Waits until a conversion has one of the statuses. */
  async waitFor(id: string, ...statuses: string[]): Promise<JobView> {
    let job = await this.job(id);
    await until(`${id} is ${statuses.join(" or ")}`, async () => {
      job = await this.job(id);
      return statuses.includes(job.status);
    });
    return job;
  }
}

const sha256 = (bytes: Uint8Array) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** An image of one uncompressed layer, as documents and blobs. */
export function tinyImage(entries: readonly TarEntry[], architecture = "amd64") {
  const layer = buildTar(entries);
  const config = Buffer.from(
    JSON.stringify({ architecture, os: "linux", rootfs: { type: "layers", diff_ids: [sha256(layer)] } }),
  );
  const describe = (mediaType: string, bytes: Buffer) => ({ mediaType, digest: sha256(bytes), size: bytes.length });
  const manifest = {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: describe("application/vnd.oci.image.config.v1+json", config),
    layers: [describe("application/vnd.oci.image.layer.v1.tar", layer)],
  };
  return { manifest, blobs: [config, layer] };
}

/** Pushes blobs and a manifest. @returns The manifest's digest. */
export async function putImage(
  host: string,
  repository: string,
  tag: string,
  { manifest, blobs }: { manifest: { mediaType: string }; blobs: readonly Buffer[] },
): Promise<string> {
  for (const blob of blobs) {
    const begun = await fetch(`http://${host}/v2/${repository}/blobs/uploads/`, { method: "POST" });
    assert.equal(begun.status, 202);
    const place = new URL(begun.headers.get("location")!, `http://${host}`);
    place.searchParams.set("digest", sha256(blob));
    assert.equal((await fetch(place, { method: "PUT", body: new Uint8Array(blob) })).status, 201);
  }
  const body = Buffer.from(JSON.stringify(manifest));
  const answer = await fetch(`http://${host}/v2/${repository}/manifests/${tag}`, {
    method: "PUT",
    headers: { "content-type": manifest.mediaType },
    body: new Uint8Array(body),
  });
  assert.equal(answer.status, 201, await answer.text());
  return sha256(body);
}

/** A manifest in a registry as JSON; undefined when there is none. */
export async function getManifest(host: string, repository: string, reference: string) {
  const types = ["application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"];
  const response = await fetch(`http://${host}/v2/${repository}/manifests/${reference}`, {
    headers: { accept: types.join(", ") },
  });
  if (response.status === 404) return undefined;
  assert.equal(response.status, 200);
  const bytes = Buffer.from(await response.arrayBuffer());
  return { digest: sha256(bytes), manifest: JSON.parse(bytes.toString()) };
}

/** A file with the header that the service accepts. */
export function authorizationFile(directory: string): string {
  const path = join(directory, "authorization");
  writeFileSync(path, `# for tests\n${AUTHORIZATION}\nBasic dXNlcjpwYXNz\n`);
  return path;
}
