import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { type TestContext, test } from "node:test";
import type { Digest } from "../../formats/oci/index.ts";
import { DEFAULT_RETRY, RegistryClient, RepositoryWriter, SourceError, UploadLost } from "./index.ts";

const digestOf = (bytes: Uint8Array): Digest => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** Handles a request itself and returns true, or leaves it to the registry; `seen` counts requests of the method. */
type Fault = (request: IncomingMessage, response: ServerResponse, seen: number) => boolean | Promise<boolean>;

/** A registry in memory that takes uploads as the distribution specification says, and keeps what arrives of a broken PATCH. */
async function startRegistry(context: TestContext, fault: Fault = () => false) {
  const blobs = new Map<string, Buffer>();
  const uploads = new Map<string, Buffer>();
  const lines: string[] = [];
  const counts = new Map<string, number>();
  const server = createServer((request, response) => void answer(request, response).catch(() => response.destroy()));
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const { method = "", url = "" } = request;
    lines.push(`${method} ${url.replace(/[0-9a-f]{64}/, "…")}`);
    const seen = counts.get(method) ?? 0;
    counts.set(method, seen + 1);
    if (await fault(request, response, seen)) return;
    const id = /uploads\/([a-z0-9]+)/.exec(url)?.[1];
    const upload = id === undefined ? undefined : uploads.get(id);
    const digest = /blobs\/(sha256:[0-9a-f]{64})/.exec(url)?.[1];
    if (method === "HEAD") response.writeHead(blobs.has(digest!) ? 200 : 404).end();
    else if (method === "POST" && url.includes("mount=")) {
      const mounted = blobs.has(new URL(url, "http://x").searchParams.get("mount")!);
      response.writeHead(mounted ? 201 : 202, { location: "/v2/a/blobs/uploads/m" }).end();
    } else if (method === "POST") {
      const name = `u${uploads.size}`;
      uploads.set(name, Buffer.alloc(0));
      response.writeHead(202, { location: `/v2/a/blobs/uploads/${name}?state=1` }).end();
    } else if (upload === undefined) response.writeHead(404).end();
    else if (method === "GET")
      response.writeHead(204, { range: `0-${Math.max(0, upload.length - 1)}`, location: url }).end();
    else if (method === "DELETE") {
      uploads.delete(id!);
      response.writeHead(204).end();
    } else if (method === "PATCH") {
      const [start] = (request.headers["content-range"] ?? "").split("-").map(Number);
      if (start !== upload.length) return void response.writeHead(416, { location: url }).end();
      for await (const piece of request) uploads.set(id!, Buffer.concat([uploads.get(id!)!, piece]));
      response.writeHead(202, { location: url }).end();
    } else if (method === "PUT") {
      const wanted = new URL(url, "http://x").searchParams.get("digest")!;
      if (digestOf(upload) !== wanted) return void response.writeHead(400).end();
      blobs.set(wanted, upload);
      response.writeHead(201).end();
    }
  };
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const endpoint = { origin: `http://${host}`, host, prefix: "" };
  const env = { HOME: "/nonexistent", XDG_RUNTIME_DIR: "/nonexistent" };
  const client = new RegistryClient(endpoint, "a", { env, stallMs: 500 });
  const retry = { ...DEFAULT_RETRY, tries: 3, sleep: async () => {} };
  return { writer: new RepositoryWriter(client, retry), blobs, uploads, lines };
}

/** Sends `blob` in three pieces. */
async function send(writer: RepositoryWriter, blob: Buffer): Promise<void> {
  const upload = await writer.startUpload("blob");
  const third = Math.ceil(blob.length / 3);
  for (let at = 0; at < blob.length; at += third) await upload.write(blob.subarray(at, at + third));
  assert.equal(upload.sentBytes, blob.length);
  await upload.finish(digestOf(blob));
}

const BLOB = randomBytes(3 << 20);

test("a blob goes up in pieces, and is there then", async (t) => {
  const { writer, blobs, lines } = await startRegistry(t);
  assert.equal(await writer.hasBlob(digestOf(BLOB)), false);
  await send(writer, BLOB);
  assert.deepEqual(blobs.get(digestOf(BLOB)), BLOB);
  assert.equal(await writer.hasBlob(digestOf(BLOB)), true);
  assert.equal(lines.filter((line) => line.startsWith("PATCH")).length, 3);
});

test("a piece that breaks off goes on where the registry has got to", async (t) => {
  let kept = 0;
  const { writer, blobs, uploads } = await startRegistry(t, async (request, _, seen) => {
    if (request.method !== "PATCH" || seen !== 1) return false;
    // Half of the second piece arrives.
    for await (const piece of request) {
      uploads.set("u0", Buffer.concat([uploads.get("u0")!, piece]));
      kept += piece.length;
      if (kept > 400_000) break;
    }
    request.socket.destroy();
    return true;
  });
  await send(writer, BLOB);
  assert.ok(kept > 400_000 && kept < 1 << 20, `${kept} bytes arrived`);
  assert.deepEqual(blobs.get(digestOf(BLOB)), BLOB);
});

for (const [name, status] of [
  ["an error of the server", 500],
  ["too many requests", 429],
  ["unavailable", 503],
] as const)
  test(`${name} for a piece and at the end is tried again`, async (t) => {
    const { writer, blobs } = await startRegistry(t, async (request, response, seen) => {
      if (!(request.method === "PATCH" && seen === 0) && !(request.method === "PUT" && seen === 0)) return false;
      await buffer(request);
      response.writeHead(status).end();
      return true;
    });
    await send(writer, BLOB);
    assert.deepEqual(blobs.get(digestOf(BLOB)), BLOB);
  });

test("an upload that the registry forgets, or has other bytes of, is lost: not a mixture", async (t) => {
  for (const status of [404, 416]) {
    const { writer, blobs } = await startRegistry(t, async (request, response, seen) => {
      if (request.method !== "PATCH" || seen !== 1) return false;
      await buffer(request);
      response.writeHead(status).end();
      return true;
    });
    await assert.rejects(send(writer, BLOB), UploadLost);
    assert.equal(blobs.size, 0);
    await send(writer, BLOB);
    assert.equal(blobs.size, 1);
  }
});

test("an answer lost at the end is no failure when the blob is there", async (t) => {
  const { writer, blobs } = await startRegistry(t, (request, _, seen) => {
    if (request.method !== "PUT" || seen !== 0) return false;
    blobs.set(digestOf(BLOB), BLOB);
    request.socket.destroy();
    return true;
  });
  await send(writer, BLOB);
});

test("a registry that refuses says why, at once", async (t) => {
  const { writer, lines } = await startRegistry(t, async (request, response) => {
    if (request.method !== "POST") return false;
    const errors = [{ code: "DENIED", message: "quota exceeded" }];
    response.writeHead(403, { "content-type": "application/json" }).end(JSON.stringify({ errors }));
    return true;
  });
  await assert.rejects(writer.startUpload("blob x"), (error) => {
    assert.ok(error instanceof SourceError);
    assert.equal(error.code, "ERR_UNAUTHORIZED");
    assert.match(error.message, /blob x: .* answered 403 \(DENIED: quota exceeded\)/);
    return true;
  });
  assert.equal(lines.length, 1);
});

test("a registry that fails for ever is given up", async (t) => {
  const { writer, lines } = await startRegistry(t, async (request, response) => {
    if (request.method !== "PATCH") return false;
    await buffer(request);
    response.writeHead(500).end();
    return true;
  });
  await assert.rejects(send(writer, BLOB), /gave up after 3 attempts/);
  assert.equal(lines.filter((line) => line.startsWith("PATCH")).length, 3);
});

test("a blob is mounted, or the upload begun instead is given up", async (t) => {
  const { writer, blobs, lines } = await startRegistry(t);
  assert.equal(await writer.mountBlob(digestOf(BLOB), "other/repository"), false);
  assert.ok(lines.includes("DELETE /v2/a/blobs/uploads/m"));
  blobs.set(digestOf(BLOB), BLOB);
  assert.equal(await writer.mountBlob(digestOf(BLOB), "other/repository"), true);
});

test("a location on a less safe scheme is refused", async (t) => {
  const { writer } = await startRegistry(t, (request, response) => {
    if (request.method !== "POST") return false;
    response.writeHead(202, { location: "ftp://elsewhere/upload" }).end();
    return true;
  });
  await assert.rejects(writer.startUpload("blob"), /redirects to "ftp:\/\/elsewhere\/upload"/);
});
