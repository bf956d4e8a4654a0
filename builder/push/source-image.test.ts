import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { sha256 } from "../../blobd/registry/index.ts";
import { OCI_INDEX, OCI_MANIFEST } from "../../formats/oci/index.ts";
import { hasManifest, openSource } from "./index.ts";

test("a manifest is said not to be there only when the registry says so", async () => {
  const descriptor = (bytes: Buffer, mediaType: string) => ({ mediaType, digest: sha256(bytes), size: bytes.length });
  const indexOf = (...manifests: object[]) =>
    Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }));
  const manifest = descriptor(Buffer.from("the image"), OCI_MANIFEST);
  const nested = indexOf(manifest);
  const root = indexOf(descriptor(nested, OCI_INDEX));
  let status = 200;
  const server = createServer(({ url }, response) => {
    const isRoot = url!.endsWith("/1");
    response.writeHead(isRoot ? 200 : status, { "content-type": OCI_INDEX });
    response.end(isRoot ? root : status === 200 ? nested : undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const registry = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const signal = new AbortController().signal;
    const source = await openSource({ registry, repository: "app", tag: "1" }, { env: {} }, signal);
    assert.equal(await hasManifest(source, manifest.digest), true);
    assert.equal(await hasManifest(source, `sha256:${"0".repeat(64)}`), false);
    status = 404;
    assert.equal(await hasManifest(source, manifest.digest), false);
    status = 403;
    await assert.rejects(hasManifest(source, manifest.digest), { name: "SourceError", code: "ERR_UNAUTHORIZED" });
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
