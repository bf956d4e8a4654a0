/** A blob in chunks, and a server made to fail, for tests. */
import { createHash, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import { ChunkIndexWriter, skippableFrame } from "../../formats/chunk-index/index.ts";
import type { Digest, ErofsLayer } from "../../formats/oci/index.ts";
import type { PartialSource } from "../store/index.ts";
import { allocAligned, ZstdChunkEncoder } from "../sys/index.ts";

export interface TestBlob {
  readonly content: Buffer;
  /** As it lies in a registry, with its index at its end. */
  readonly stored: Buffer;
  readonly digest: Digest;
  readonly source: PartialSource;
  readonly chunkBytes: number;
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest();

/** A blob of `chunks` chunks of zstd, half of each random. */
export async function makeTestBlob(chunks: number, chunkBytes = 64 << 10): Promise<TestBlob> {
  const content = Buffer.alloc(chunks * chunkBytes);
  for (let at = 0; at < content.length; at += chunkBytes) randomBytes(chunkBytes / 2).copy(content, at);
  const encoder = new ZstdChunkEncoder(1);
  const from = allocAligned(chunkBytes);
  const to = allocAligned(2 * chunkBytes);
  const index = new ChunkIndexWriter("zstd", "sha256");
  const frames: Buffer[] = [];
  let position = 0;
  for (let at = 0; at < content.length; at += chunkBytes) {
    content.copy(from.bytes, 0, at, at + chunkBytes);
    const length = await encoder.encode(from.address, chunkBytes, to.address, to.bytes.length);
    const frame = Buffer.from(to.bytes.subarray(0, length));
    index.add(position, at, sha256(frame));
    frames.push(frame);
    position += length;
  }
  encoder.free();
  const payload = index.finish(content.length);
  const stored = Buffer.concat([...frames, skippableFrame(payload)]);
  const source = { contentHex: sha256(content).toString("hex"), index: payload, storedEnd: position };
  return { content, stored, digest: `sha256:${sha256(stored).toString("hex")}`, source, chunkBytes };
}

/** A blob as a layer of an image. */
export function layerOf({ stored, digest, source }: TestBlob): ErofsLayer {
  const index = `sha256:${createHash("sha256").update(source.index).digest("hex")}` as const;
  return {
    descriptor: {
      mediaType: "application/octet-stream+zstd",
      digest,
      size: stored.length,
      urls: [],
      annotations: new Map(),
    },
    compression: "zstd",
    contentDigest: `sha256:${source.contentHex}`,
    chunkIndex: { blob: digest, start: source.storedEnd, end: stored.length, framed: true, digest: index },
  };
}

/** Handles a request in its own way and returns true, or leaves it to the server; `seen` counts all before it. */
export type ServerFault = (request: IncomingMessage, response: ServerResponse, seen: number) => boolean;

export interface BlobServer {
  readonly origin: string;
  /** The ranges asked for, `start-end`, in the order of asking. */
  readonly ranges: string[];
  fault: ServerFault;
  /** Answers with a range as it should. */
  serve(request: IncomingMessage, response: ServerResponse, change?: (bytes: Buffer) => Buffer): void;
  stop(): void;
  /** Listens again on the port that it had. */
  restart(): Promise<void>;
}

/** Serves `blob` under any path, by Range. */
export async function startBlobServer(test: TestContext, blob: Buffer): Promise<BlobServer> {
  let seen = 0;
  const server = createServer((request, response) => {
    blobServer.ranges.push((request.headers.range ?? "").replace("bytes=", ""));
    if (!blobServer.fault(request, response, seen++)) blobServer.serve(request, response);
  });
  const listen = (port: number) => new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const stop = () => {
    server.closeAllConnections();
    server.close();
  };
  test.after(stop);
  const blobServer: BlobServer = {
    origin: `http://127.0.0.1:${port}`,
    ranges: [],
    fault: () => false,
    stop,
    restart: () => listen(port),
    serve(request, response, change = (bytes) => bytes) {
      const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
      const start = Number(from);
      const end = Math.min(Number(to) + 1, blob.length);
      const body = change(blob.subarray(start, end));
      response.writeHead(206, {
        "content-range": `bytes ${start}-${end - 1}/${blob.length}`,
        "content-length": end - start,
      });
      if (body.length === end - start) response.end(body);
      else response.write(body, () => response.destroy());
    },
  };
  return blobServer;
}

/** Sends the right bytes at `bytesPerSecond`. */
export function serveSlowly(blob: Buffer, bytesPerSecond: number): ServerFault {
  return (request, response) => {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    const body = blob.subarray(Number(from), Number(to) + 1);
    response.writeHead(206, { "content-range": `bytes ${from}-${to}/${blob.length}`, "content-length": body.length });
    const step = Math.max(1, Math.floor(bytesPerSecond / 50));
    let at = 0;
    const timer = setInterval(() => {
      if (response.destroyed) return clearInterval(timer);
      response.write(body.subarray(at, at + step));
      at += step;
      if (at < body.length) return;
      clearInterval(timer);
      response.end();
    }, 20);
    return true;
  };
}
