/** What registries call: Harbor, clients of the acceleration-service, the CNCF distribution registry. */
import { setTimeout as delay } from "node:timers/promises";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { FormatError } from "../../../formats/bytes/index.ts";
import { DocumentError } from "../../../formats/oci/index.ts";
import {
  MAX_NOTIFICATION_BYTES,
  type Notification,
  parseDistributionNotification,
  parseHarborNotification,
} from "../events/index.ts";
import { ApiError, asksOf, illegal, type ServerContext } from "../http/index.ts";
import { ask, type Conversion, follow, isFinal, list, MAX_LISTED, type Origin } from "../queue/index.ts";
import { ACCELERATION_TASK, errors } from "./schemas.ts";
import { accelerationTask } from "./views.ts";

/** Between two looks at conversions that a synchronous request waits for. */
const SYNC_POLL_MS = 250;
/** What Go's strconv.ParseBool takes for true. */
const TRUE = new Set(["1", "t", "T", "TRUE", "true", "True"]);

export function webhookRoutes(server: FastifyInstance, context: ServerContext): void {
  const { queue } = context;

  server.post("/api/v1/conversions", {
    bodyLimit: MAX_NOTIFICATION_BYTES,
    schema: {
      tags: ["webhooks"],
      summary: "Harbor's webhook, and the acceleration-service's conversion API",
      description:
        'Harbor\'s payload (default form or CloudEvents), or `{"type":"PUSH_ARTIFACT","event_data":{"resources":' +
        '[{"resource_url":"host/repo:tag"}]}}`. Other types are answered 200 and ignored.',
      querystring: {
        type: "object",
        properties: { sync: { type: "string", description: "true: answer when the conversions have ended" } },
      },
      response: { 200: { type: "string", const: "Ok" }, ...errors(400, 401, 413, 500, 503) },
    },
    async handler(request, reply) {
      const ids = await take(request, "harbor", parseHarborNotification);
      if (TRUE.has(String((request.query as { sync?: string }).sync))) await waitFor(ids, request);
      // The bytes that the acceleration-service sends: a JSON string and a line end.
      return reply.type("application/json; charset=UTF-8").serializer(String).send('"Ok"\n');
    },
  });

  server.post("/api/v1/notifications", {
    bodyLimit: MAX_NOTIFICATION_BYTES,
    schema: {
      tags: ["webhooks"],
      summary: "Notifications of the CNCF distribution registry (docker-registry)",
      description:
        "What is well-formed is answered 200, pushes or not: the registry repeats everything else without end, and " +
        "tells nothing further meanwhile.",
      response: {
        200: { type: "object", properties: { taken: { type: "integer" } } },
        ...errors(400, 401, 413, 503),
      },
    },
    handler: async (request) => ({
      taken: (await take(request, "distribution", parseDistributionNotification)).length,
    }),
  });

  server.get("/api/v1/conversions", {
    schema: {
      tags: ["webhooks"],
      summary: "The newest conversions, as the acceleration-service lists its tasks",
      response: { 200: { type: "array", items: ACCELERATION_TASK }, ...errors(401, 503) },
    },
    handler: async () => (await list(queue.db, { limit: MAX_LISTED })).map(accelerationTask),
  });

  async function take(request: FastifyRequest, origin: Origin, parse: (body: Uint8Array) => Notification) {
    let notification: Notification;
    try {
      notification = parse((request.body as Buffer | undefined) ?? Buffer.alloc(0));
    } catch (error) {
      if (error instanceof DocumentError || error instanceof FormatError) throw illegal(error.message);
      throw error;
    }
    const asks = asksOf(queue.settings, origin, notification);
    const strangers = notification.pushes.length - asks.length;
    if (strangers > 0)
      request.log.warn({ hosts: [...new Set(notification.pushes.map(({ host }) => host))] }, "not a registry of ours");
    if (asks.length === 0) return [];
    const ids = await ask(queue, asks);
    context.metrics.events.inc({ origin }, ids.length);
    return ids;
  }

  async function waitFor(ids: readonly string[], request: FastifyRequest): Promise<void> {
    for (const id of ids) {
      let conversion = await follow(queue.db, id);
      while (conversion !== undefined && !isFinal(conversion.status)) {
        if (context.closing.aborted) throw new ApiError(503, "ERR_UNAVAILABLE", "the service stops");
        // Nobody waits any more.
        if (request.raw.socket.destroyed) return;
        await delay(SYNC_POLL_MS);
        conversion = await follow(queue.db, id);
      }
      if (conversion !== undefined) throwUnlessDone(conversion);
    }
  }
}

function throwUnlessDone({ status, reason }: Conversion): void {
  if (status === "failed" || status === "cancelled")
    throw new ApiError(500, "ERR_CONVERT_FAILED", reason ?? "the conversion was cancelled");
}
