/** Keeps open pages up to date by server-sent events: parts of the page as HTML, when they have changed. */
import { setTimeout as delay } from "node:timers/promises";
import type { FastifyInstance } from "fastify";
import { ApiError, isId, type ServerContext } from "../http/index.ts";
import { find } from "../queue/index.ts";
import { filters, jobBody, type ListPage } from "./page.ts";
import { rows } from "./rows.ts";

/** How often a page is looked after. */
const LOOK_MS = 1000;
/** A word now and then keeps proxies from closing the connection. */
const KEEP_ALIVE_MS = 15_000;
/** Open pages at once: each costs a few queries a second. */
const MAX_VIEWERS = 50;

export function liveRoute(
  server: FastifyInstance,
  { queue, closing }: ServerContext,
  listed: (status: string | undefined) => Promise<ListPage>,
): void {
  let viewers = 0;

  server.get("/events", { schema: { hide: true } }, async (request, reply) => {
    const { status, id } = request.query as { status?: string; id?: string };
    if (viewers >= MAX_VIEWERS) throw new ApiError(503, "ERR_UNAVAILABLE", "too many viewers");
    if (id !== undefined && !isId(id)) throw new ApiError(404, "ERR_NOT_FOUND", `there is no conversion ${id}`);
    const parts = id === undefined ? listParts : () => jobParts(id);
    reply.hijack();
    viewers++;
    const stream = reply.raw;
    stream.writeHead(200, {
      "content-type": "text/event-stream",
      "cache-control": "no-store",
      "x-accel-buffering": "no",
    });
    let [last, lastMs] = ["", Date.now()];
    try {
      while (!stream.destroyed && !closing.aborted) {
        const now = JSON.stringify(await parts());
        if (now !== last) stream.write(`event: parts\ndata: ${now}\n\n`);
        else if (Date.now() - lastMs >= KEEP_ALIVE_MS) stream.write(":\n\n");
        if (now !== last || Date.now() - lastMs >= KEEP_ALIVE_MS) lastMs = Date.now();
        last = now;
        await delay(LOOK_MS);
      }
    } catch (error) {
      request.log.warn({ err: error }, "a page is no longer kept up to date");
    } finally {
      viewers--;
      stream.end();
    }

    async function listParts(): Promise<Record<string, string>> {
      const page = await listed(status);
      return { rows: rows(page.conversions, Date.now()).text, filters: filters(page).text };
    }
  });

  async function jobParts(id: string): Promise<Record<string, string>> {
    const conversion = await find(queue.db, id);
    return conversion === undefined ? {} : { job: jobBody(conversion, Date.now()).text };
  }
}
