/** The page: lists conversions, starts, repeats and cancels them. Written by the server; without scripts it can be read. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { ApiError, askFor, isId, isSameOrigin, type ServerContext } from "../http/index.ts";
import { ask, cancel, countByStatus, find, list, retry, STATUSES, type Status } from "../queue/index.ts";
import { ICON, SCRIPT, STYLE } from "./assets.ts";
import type { Html } from "./html.ts";
import { liveRoute } from "./live.ts";
import { jobPage, type ListPage, listPage } from "./page.ts";

const PAGE_ROWS = 50;
const MAX_FORM_BYTES = 8 << 10;

const SECURITY =
  "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; " +
  "base-uri 'self'; frame-ancestors 'none'";

export function pageRoutes(server: FastifyInstance, context: ServerContext): void {
  const { queue } = context;
  const hide = { schema: { hide: true } };

  const asset = (path: string, type: string, text: string) =>
    server.get(`/assets/${path}`, hide, async (_request, reply) => reply.type(type).send(text));
  asset("style.css", "text/css; charset=utf-8", STYLE);
  asset("page.js", "text/javascript; charset=utf-8", SCRIPT);
  asset("icon.svg", "image/svg+xml", ICON);

  server.get("/", hide, async (request, reply) => {
    const { status, after } = request.query as { status?: string; after?: string };
    return send(reply, listPage(await listed(context, statusOf(status), after), Date.now()));
  });

  server.get<{ Params: { id: string } }>("/jobs/:id", hide, async ({ params: { id } }, reply) => {
    const conversion = isId(id) ? await find(queue.db, id) : undefined;
    if (conversion === undefined) throw new ApiError(404, "ERR_NOT_FOUND", `there is no conversion ${id}`);
    return send(reply, jobPage(conversion, Date.now()));
  });

  server.post("/jobs", { ...hide, bodyLimit: MAX_FORM_BYTES }, async (request, reply) => {
    fromOwnPage(request);
    const reference = new URLSearchParams(String(request.body ?? "")).get("reference")?.trim() ?? "";
    try {
      const [id] = await ask(queue, [askFor(queue.settings, "page", reference)]);
      context.metrics.events.inc({ origin: "page" });
      return reply.redirect(`jobs/${id}`, 303);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const page = { ...(await listed(context, undefined, undefined)), error: error.message, reference };
      return send(reply.status(error.statusCode), listPage(page, Date.now()));
    }
  });

  for (const [verb, act] of [
    ["retry", retry],
    ["cancel", cancel],
  ] as const)
    server.post<{ Params: { id: string } }>(
      `/jobs/:id/${verb}`,
      { ...hide, bodyLimit: MAX_FORM_BYTES },
      async (request, reply) => {
        fromOwnPage(request);
        const { id } = request.params;
        if (!isId(id) || (await act(queue, id)) === undefined)
          throw new ApiError(404, "ERR_NOT_FOUND", `there is no conversion ${id}`);
        // What can no longer be changed is shown as it is.
        return reply.redirect(`../${id}`, 303);
      },
    );

  liveRoute(server, context, (status) => listed(context, statusOf(status), undefined));
}

async function listed(
  { queue }: ServerContext,
  status: Status | undefined,
  after: string | undefined,
): Promise<ListPage> {
  const place = after !== undefined && isId(after) ? after : undefined;
  const [conversions, counts] = await Promise.all([
    list(queue.db, { status, limit: PAGE_ROWS + 1, after: place }),
    countByStatus(queue.db),
  ]);
  const shown = conversions.slice(0, PAGE_ROWS);
  return {
    conversions: shown,
    counts,
    status,
    next: conversions.length > PAGE_ROWS ? shown.at(-1)!.id : undefined,
    older: place !== undefined,
    registries: queue.settings.registries.map(({ name }) => name),
  };
}

function statusOf(text: string | undefined): Status | undefined {
  return STATUSES.find((status) => status === text);
}

function send(reply: FastifyReply, page: Html): FastifyReply {
  return reply
    .type("text/html; charset=utf-8")
    .header("content-security-policy", SECURITY)
    .header("referrer-policy", "same-origin")
    .send(page.text);
}

/** @throws ApiError when the form was sent by somebody else's page */
function fromOwnPage({ headers }: FastifyRequest): void {
  if (!isSameOrigin(headers)) throw new ApiError(403, "ERR_FORBIDDEN", "the form is not from this service's page");
}
