/** The service's own API. */
import type { FastifyInstance } from "fastify";
import { absent, askFor, conflict, illegal, type ServerContext } from "../http/index.ts";
import { ask, cancel, find, follow, list, MAX_LISTED, retry, STATUSES, type Status } from "../queue/index.ts";
import { errors, ID_PARAMETERS, JOB } from "./schemas.ts";
import { jobView } from "./views.ts";

const MAX_BODY_BYTES = 64 << 10;
const DEFAULT_LISTED = 100;
const ACCEPTED = { type: "object", properties: { id: { type: "string" } } } as const;

interface ListQuery {
  readonly status?: Status;
  readonly limit?: number;
  readonly after?: string;
}

export function jobRoutes(server: FastifyInstance, { queue, metrics }: ServerContext): void {
  const tags = ["jobs"];

  server.get<{ Querystring: ListQuery }>("/api/v1/jobs", {
    schema: {
      tags,
      summary: "Conversions, newest first",
      querystring: {
        type: "object",
        properties: {
          status: { type: "string", enum: STATUSES },
          limit: { type: "integer", minimum: 1, maximum: MAX_LISTED },
          after: { type: "string", format: "uuid", description: "the last id of the page before" },
        },
      },
      response: { 200: { type: "array", items: JOB }, ...errors(400, 401, 503) },
    },
    handler: async ({ query }) =>
      (await list(queue.db, { status: query.status, limit: query.limit ?? DEFAULT_LISTED, after: query.after })).map(
        jobView,
      ),
  });

  server.post("/api/v1/jobs", {
    bodyLimit: MAX_BODY_BYTES,
    schema: {
      tags,
      summary: "Convert an image",
      description: '`{"reference": "registry/repo:tag", "platforms": ["linux/amd64"], "force": false}`',
      response: { 202: ACCEPTED, ...errors(400, 401, 413, 503) },
    },
    async handler(request, reply) {
      const { reference, platforms, force } = startRequest(request.body as Buffer | undefined);
      const [id] = await ask(queue, [askFor(queue.settings, "api", reference, platforms, force)]);
      metrics.events.inc({ origin: "api" });
      return reply.status(202).header("location", `/api/v1/jobs/${id}`).send({ id });
    },
  });

  server.get<{ Params: { id: string } }>("/api/v1/jobs/:id", {
    schema: {
      tags,
      summary: "One conversion; `follow=true`: the one that answers the request, if that is another",
      params: ID_PARAMETERS,
      querystring: { type: "object", properties: { follow: { type: "boolean" } } },
      response: { 200: JOB, ...errors(400, 401, 404, 503) },
    },
    async handler({ params, query }) {
      const look = (query as { follow?: boolean }).follow ? follow : find;
      const conversion = await look(queue.db, params.id);
      if (conversion === undefined) throw absent(`there is no conversion ${params.id}`);
      return jobView(conversion);
    },
  });

  const change = (verb: string, summary: string, act: typeof retry, refused: string) =>
    server.post<{ Params: { id: string } }>(`/api/v1/jobs/:id/${verb}`, {
      bodyLimit: MAX_BODY_BYTES,
      schema: { tags, summary, params: ID_PARAMETERS, response: { 202: ACCEPTED, ...errors(400, 401, 404, 409, 503) } },
      async handler({ params: { id } }, reply) {
        const changed = await act(queue, id);
        if (changed === undefined) throw absent(`there is no conversion ${id}`);
        if (!changed) throw conflict(refused);
        return reply.status(202).send({ id });
      },
    });
  change("retry", "Convert again what has ended", retry, "it is under way, or another answers it");
  change("cancel", "Cancel what has not ended", cancel, "it has ended");
}

function startRequest(body: Buffer | undefined): { reference: string; platforms: string[]; force: boolean } {
  let json: { reference?: unknown; platforms?: unknown; force?: unknown } | null;
  try {
    json = JSON.parse(String(body ?? ""));
  } catch (error) {
    throw illegal(`the body is not JSON: ${(error as Error).message}`);
  }
  const { reference, platforms = [], force = false } = json ?? {};
  if (typeof reference !== "string") throw illegal("reference: expected a string");
  if (!Array.isArray(platforms) || platforms.some((one) => typeof one !== "string"))
    throw illegal("platforms: expected an array of strings");
  if (typeof force !== "boolean") throw illegal("force: expected true or false");
  return { reference, platforms, force };
}
