import { createServer, type Server } from "node:http";
import type { Registry } from "prom-client";

/** Serves what is counted at `/metrics`; it keeps no process. @param address `host:port` @throws the system's error */
export async function serveMetrics(registry: Registry, address: string): Promise<Server> {
  const colon = address.lastIndexOf(":");
  const server = createServer((request, response) => {
    if (request.url !== "/metrics") {
      response.writeHead(404).end();
      return;
    }
    registry.metrics().then(
      (text) => response.writeHead(200, { "content-type": registry.contentType }).end(text),
      () => response.writeHead(500).end(),
    );
  });
  const host = address.slice(0, colon).replace(/^\[|\]$/g, "");
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(Number(address.slice(colon + 1)), host, resolve);
  });
  server.unref();
  return server;
}
