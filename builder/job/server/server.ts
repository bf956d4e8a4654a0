/** The HTTP service: who may call what, how errors are told, and the routes. */

import swagger from "@fastify/swagger";
import Fastify, { type FastifyError, type FastifyInstance, type FastifyRequest, LogController } from "fastify";
import type { Logger } from "pino";
import { ApiError, Authorization, codeOfStatus, type ServerContext } from "../http/index.ts";
import type { JobMetrics } from "../metrics/index.ts";
import { pageRoutes } from "../page/index.ts";
import type { QueueContext } from "../queue/index.ts";
import { healthRoutes } from "./health.ts";
import { jobRoutes } from "./jobs.ts";
import { webhookRoutes } from "./webhooks.ts";

export interface ServerOptions {
  readonly queue: QueueContext;
  readonly metrics: JobMetrics;
  /** Accepted Authorization headers; none: everybody may. */
  readonly authorization: readonly string[];
  readonly log: Logger;
  readonly version: string;
}

/** Without a word from the client for so long, a connection is closed, in ms. */
const REQUEST_TIMEOUT_MS = 30_000;
const DEFAULT_BODY_BYTES = 64 << 10;

/** Everything: webhooks, API, page, health. Not listening yet. */
export async function createServer(options: ServerOptions): Promise<FastifyInstance> {
  const { server, closing } = createBase(options.log);
  const context: ServerContext = {
    queue: options.queue,
    metrics: options.metrics,
    authorization: new Authorization(options.authorization),
    log: server.log,
    closing,
  };
  await server.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "erofsify job",
        description: "Converts the images that are pushed to registries into EROFS.",
        version: options.version,
        license: { name: "Apache-2.0" },
      },
      components: {
        securitySchemes: { header: { type: "apiKey", in: "header", name: "authorization" } },
      },
      security: [{ header: [] }],
    },
  });
  healthRoutes(server, context);
  await server.register(async (guarded) => {
    guarded.addHook("onRequest", async (request, reply) => {
      if (context.authorization.accepts(request.headers.authorization)) return;
      // A browser asks its user then.
      reply.header("www-authenticate", 'Basic realm="erofsify", charset="UTF-8"');
      throw new ApiError(401, "ERR_UNAUTHORIZED", "invalid auth config");
    });
    webhookRoutes(guarded, context);
    jobRoutes(guarded, context);
    pageRoutes(guarded, context);
    guarded.get("/openapi.json", { schema: { hide: true } }, async () => server.swagger());
  });
  return server;
}

/** Health and metrics alone, for a worker without the service. */
export function createHealthServer({ queue, metrics, log }: Pick<ServerOptions, "queue" | "metrics" | "log">) {
  const { server, closing } = createBase(log);
  healthRoutes(server, { queue, metrics, closing });
  return server;
}

function createBase(log: Logger): { server: FastifyInstance; closing: AbortSignal } {
  const server = Fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: DEFAULT_BODY_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: true,
    // Requests that wait must end when the service does.
    return503OnClosing: true,
  }) as unknown as FastifyInstance;
  // Senders name all sorts of content types: bodies are read as bytes and parsed where it is known what they are.
  server.removeAllContentTypeParsers();
  server.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
  const controller = new AbortController();
  server.addHook("preClose", async () => controller.abort());
  server.addHook("onSend", async (_request, reply) => {
    reply.header("x-content-type-options", "nosniff").header("cache-control", "no-store");
  });
  server.setNotFoundHandler((_request, reply) =>
    reply.status(404).send({ code: "ERR_INVALID_ENDPOINT", message: "Endpoint not found" }),
  );
  server.setErrorHandler((error: FastifyError, request, reply) => {
    const status = statusOf(error);
    if (status >= 500) logError(request, error);
    const code = error instanceof ApiError ? error.code : codeOfStatus(status);
    const message = status < 500 || error instanceof ApiError ? error.message : "the queue cannot be reached";
    return reply.status(status).send({ code, message });
  });
  return { server, closing: controller.signal };
}

/** A sender is told to try again later when it is not its own mistake: registries keep what they have to tell. */
function statusOf({ statusCode }: FastifyError): number {
  return statusCode !== undefined && statusCode >= 400 ? statusCode : 503;
}

function logError(request: FastifyRequest, error: Error): void {
  request.log.error({ err: error, url: request.url }, "a request failed");
}
