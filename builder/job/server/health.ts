/** For those who watch over the service; no authorization is asked for here, and nothing is told. */
import type { FastifyInstance } from "fastify";
import type { ServerContext } from "../http/index.ts";
import { errors } from "./schemas.ts";

/** What the queue's database may take to answer. */
const READY_TIMEOUT_MS = 5000;

export function healthRoutes(
  server: FastifyInstance,
  context: Pick<ServerContext, "queue" | "metrics" | "closing">,
): void {
  const tags = ["health"];
  const ready = async () => {
    if (context.closing.aborted) throw Object.assign(new Error("the service stops"), { statusCode: 503 });
    await inTime(context.queue.db.query("SELECT 1"), READY_TIMEOUT_MS);
    return "Ok";
  };

  server.get("/healthz", {
    schema: { tags, summary: "The process answers", response: { 200: { type: "string" } } },
    handler: async (_, reply) => reply.type("text/plain").send("Ok"),
  });
  server.get("/readyz", {
    schema: { tags, summary: "The queue's database answers", response: { 200: { type: "string" }, ...errors(503) } },
    handler: async (_, reply) => reply.type("text/plain").send(await ready()),
  });
  server.get("/api/v1/health", {
    schema: { tags, summary: "The same, as the acceleration-service has it", response: { 200: { type: "string" } } },
    handler: async (_, reply) => reply.type("text/plain").send(await ready()),
  });
  server.get("/metrics", {
    schema: { tags, summary: "Prometheus metrics", response: { 200: { type: "string" }, ...errors(503) } },
    handler: async (_, reply) =>
      reply.type(context.metrics.registry.contentType).send(await context.metrics.registry.metrics()),
  });
}

async function inTime<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("the queue's database does not answer")), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
