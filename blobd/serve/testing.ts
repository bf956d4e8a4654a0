/** A service with its real mount, against a server of blobs that can be made to fail, for tests. */
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { formatServeRequest, parseServed, type ServedBlob, type ServeRequest } from "../../formats/control/index.ts";
import type { ErofsLayer } from "../../formats/oci/index.ts";
import type { FetchOptions } from "../fetch/index.ts";
import { type BlobServer, layerOf, startBlobServer, type TestBlob } from "../fetch/testing.ts";
import type { Environment } from "../registry/index.ts";
import { type ServeOptions, type Serving, startServing } from "./index.ts";

/** Nothing is waited for as long as with people's networks. */
const QUICK = { giveUpMs: 1000, offlineGiveUpMs: 200, stallMs: 400, retryMs: 10, maxRetryMs: 50, readAheadBytes: 0 };

/** A connection to a service. */
export interface TestClient {
  /** Sends a line, and returns the answer. */
  say(line: string): Promise<Buffer>;
  end(): void;
}

export interface Started {
  readonly serving: Serving;
  readonly root: string;
  readonly server: BlobServer;
  connect(): TestClient;
  /** Asks for the blob as a client; `end` gives it up. */
  ask(
    isWhole?: boolean,
    layer?: ErofsLayer,
    more?: Partial<Pick<ServeRequest, "endpoints" | "prefetch" | "isRecorded">>,
  ): Promise<TestClient & { readonly served: readonly ServedBlob[] }>;
}

export interface TestServiceOptions extends Pick<ServeOptions, "maxBytes" | "evictEveryMs" | "metrics"> {
  /** It is removed in the end. */
  readonly folder?: string;
  readonly env?: Environment;
}

/** Starts a service in a folder of its own, and a server that has `blob`; both end with the test. */
export async function startTestService(
  t: TestContext,
  blob: TestBlob,
  fetch: Partial<FetchOptions> = {},
  idleMs?: number,
  more: TestServiceOptions = {},
): Promise<Started> {
  const { folder = mkdtempSync(join(tmpdir(), "serve-")), ...limits } = more;
  const root = join(folder, "store");
  const server = await startBlobServer(t, blob.stored);
  const env = { HOME: "/nonexistent", XDG_RUNTIME_DIR: "/nonexistent" };
  const options = {
    storeRoot: root,
    fetch: { ...QUICK, ...fetch },
    env,
    log: () => {},
    ...(idleMs !== undefined && { idleMs }),
    ...limits,
  };
  const serving = await startServing(options);
  t.after(async () => {
    await serving.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const connectTo = (): TestClient => {
    const socket = connect(serving.socketPath);
    t.after(() => socket.destroy());
    const say = (line: string) =>
      new Promise<Buffer>((resolve, reject) => {
        const onClose = () => reject(new Error("no answer"));
        socket.once("close", onClose).once("data", (answer) => {
          socket.off("close", onClose);
          resolve(answer);
        });
        socket.write(line);
      });
    return { say, end: () => socket.destroy() };
  };
  return {
    serving,
    root,
    server,
    connect: connectTo,
    async ask(isWhole = false, layer = layerOf(blob), more = {}) {
      const endpoints = [{ origin: server.origin, host: "test", prefix: "" }];
      const client = connectTo();
      const request = { endpoints, repository: "a/b", blobs: [{ layer, isWhole }], ...more };
      const served = parseServed(await client.say(formatServeRequest(request)));
      if ("error" in served) throw Object.assign(new Error(served.error), served);
      return { ...client, served };
    },
  };
}
