/** A registry made to fail, for tests: node:http on a loopback port, with a say in every answer. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import { type Digest, OCI_CONFIG, OCI_MANIFEST } from "../../formats/oci/index.ts";
import type { RetryPolicy } from "./retry.ts";
import type { Environment } from "./settings.ts";
import { sha256 } from "./verify.ts";

/** An image's documents and layers as bytes. */
export interface FakeImage {
  readonly manifest: Buffer;
  readonly manifestDigest: Digest;
  readonly blobs: ReadonlyMap<string, Buffer>;
  /** Digests of the layers, bottom first. */
  readonly layers: readonly Digest[];
}

export interface FakeImageOptions {
  readonly architecture?: string;
  readonly layerType?: string;
  readonly configType?: string;
  /** Further fields of each layer's descriptor. */
  readonly layerFields?: object;
}

/** An image with these layers; they need not be tars. */
export function fakeImage(layers: readonly Buffer[], options: FakeImageOptions = {}): FakeImage {
  const {
    architecture = "amd64",
    layerType = "application/vnd.oci.image.layer.v1.tar",
    configType = OCI_CONFIG,
  } = options;
  const diffIds = layers.map(sha256);
  const config = Buffer.from(
    JSON.stringify({ architecture, os: "linux", rootfs: { type: "layers", diff_ids: diffIds } }),
  );
  const describe = (mediaType: string, bytes: Buffer) => ({ mediaType, digest: sha256(bytes), size: bytes.length });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      config: describe(configType, config),
      layers: layers.map((bytes) => ({ ...describe(layerType, bytes), ...options.layerFields })),
    }),
  );
  const blobs = new Map([config, ...layers].map((bytes) => [sha256(bytes) as string, bytes]));
  return { manifest, manifestDigest: sha256(manifest), blobs, layers: diffIds };
}

/** Handles a request in its own way and returns true, or leaves it to the registry. */
export type Fault = (request: IncomingMessage, response: ServerResponse, seen: number) => boolean;

export interface FakeRegistry {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  /** Every request: `GET /v2/…`, and its headers. */
  readonly requests: { readonly line: string; readonly headers: IncomingMessage["headers"] }[];
  /** Asked first for every request; `seen` counts earlier requests for the same URL. */
  fault: Fault;
  /** Answers a request as a registry in good health does. */
  serve(request: IncomingMessage, response: ServerResponse): void;
}

/**
 * Starts a registry that holds `image` under every repository name and tag; it ends with the test.
 * @param tls Key and certificate in PEM, for one that speaks TLS.
 */
export async function startFakeRegistry(
  test: TestContext,
  image: FakeImage,
  fault: Fault = () => false,
  tls?: { key: string; cert: string },
): Promise<FakeRegistry> {
  const seen = new Map<string, number>();
  const listener = (request: IncomingMessage, response: ServerResponse) => {
    const line = `${request.method} ${request.url}`;
    registry.requests.push({ line, headers: request.headers });
    const count = seen.get(line) ?? 0;
    seen.set(line, count + 1);
    if (!registry.fault(request, response, count)) registry.serve(request, response);
  };
  const server = tls ? createTlsServer(tls, listener) : createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  test.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const registry: FakeRegistry = {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: [],
    fault,
    serve: (request, response) => serve(image, request, response),
  };
  return registry;
}

function serve(image: FakeImage, request: IncomingMessage, response: ServerResponse): void {
  const [, kind, name] = /\/(manifests|blobs)\/([^/?]+)(?:\?|$)/.exec(request.url ?? "") ?? [];
  const blob = kind === "blobs" ? image.blobs.get(name!) : undefined;
  if (kind === "manifests")
    response
      .writeHead(200, { "content-type": OCI_MANIFEST, "content-length": image.manifest.length })
      .end(image.manifest);
  else if (blob) sendBlob(request, response, blob);
  else response.writeHead(404).end('{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}');
}

function sendBlob(request: IncomingMessage, response: ServerResponse, blob: Buffer): void {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? Number.NaN);
  if (Number.isNaN(from)) {
    response.writeHead(200, { "content-length": blob.length }).end(blob);
    return;
  }
  const range = `bytes ${from}-${blob.length - 1}/${blob.length}`;
  response.writeHead(206, { "content-length": blob.length - from, "content-range": range }).end(blob.subarray(from));
}

/** Answers with a length, sends only the first `bytes` of it, and breaks the connection. */
export function sendShort(response: ServerResponse, blob: Buffer, bytes: number): void {
  response.writeHead(200, { "content-length": blob.length });
  response.write(blob.subarray(0, bytes), () => response.destroy());
}

/** What tests set of a reader's options. */
interface TestedOptions {
  readonly env?: Environment | undefined;
  readonly retry?: Partial<RetryPolicy> | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((receivedBytes: number) => void) | undefined;
}

/** Options under which nothing is read from the user's home, and no wait is longer than a moment. */
export function testOptions(more: TestedOptions = {}) {
  const waits: number[] = [];
  const sleep = async (ms: number) => {
    waits.push(ms);
  };
  const env = { HOME: "/nonexistent", XDG_RUNTIME_DIR: "/nonexistent", PATH: process.env.PATH, ...more.env };
  return { waits, ...more, env, retry: { sleep, ...more.retry } };
}
