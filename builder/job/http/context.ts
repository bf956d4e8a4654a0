import type { FastifyBaseLogger } from "fastify";
import type { JobMetrics } from "../metrics/index.ts";
import type { QueueContext } from "../queue/index.ts";
import type { Authorization } from "./authorization.ts";

/** What the routes work with. */
export interface ServerContext {
  readonly queue: QueueContext;
  readonly metrics: JobMetrics;
  readonly authorization: Authorization;
  readonly log: FastifyBaseLogger;
  /** Ends when the server closes: what waits for something stops waiting. */
  readonly closing: AbortSignal;
}
