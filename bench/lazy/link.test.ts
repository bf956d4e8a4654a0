import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { type AddressInfo, connect, createServer } from "node:net";
import { test } from "node:test";
import { startLink } from "./link.ts";

test("a link is as slow as it says, and changes nothing", async (t) => {
  const content = randomBytes(3 << 20);
  const server = createServer((socket) => socket.once("data", () => socket.end(content)));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const target = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const link = await startLink(target, { bytesPerSecond: 10 << 20, roundTripMs: 60 });
  t.after(() => {
    link.stop();
    server.close();
  });
  const ask = () =>
    new Promise<{ digest: string; firstMs: number; endMs: number }>((resolve) => {
      const startMs = performance.now();
      const hash = createHash("sha256");
      let firstMs = 0;
      const socket = connect(Number(link.host.split(":")[1]), "127.0.0.1", () => socket.write("now"));
      socket.on("data", (piece) => {
        firstMs ||= performance.now() - startMs;
        hash.update(piece);
      });
      socket.once("end", () => resolve({ digest: hash.digest("hex"), firstMs, endMs: performance.now() - startMs }));
    });
  // Two connections share the line.
  const both = await Promise.all([ask(), ask()]);
  for (const { digest, firstMs } of both) {
    assert.equal(digest, createHash("sha256").update(content).digest("hex"));
    assert.ok(firstMs >= 59, `the first byte after ${firstMs} ms`);
  }
  const endMs = Math.max(...both.map((one) => one.endMs));
  assert.ok(endMs >= 620 && endMs < 3000, `all after ${endMs} ms, expected 660`);
});
