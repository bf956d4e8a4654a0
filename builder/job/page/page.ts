import type { Conversion, Status } from "../queue/index.ts";
import { type Html, html } from "./html.ts";
import { actions, badge, details, rows } from "./rows.ts";

/** Filters of the list, in their order. */
const FILTERS: readonly (readonly [Status | undefined, string])[] = [
  [undefined, "All"],
  ["running", "Converting"],
  ["queued", "Queued"],
  ["done", "Done"],
  ["failed", "Failed"],
  ["cancelled", "Cancelled"],
  ["ignored", "Left alone"],
];

export interface ListPage {
  readonly conversions: readonly Conversion[];
  readonly counts: ReadonlyMap<Status, number>;
  readonly status: Status | undefined;
  /** There is more behind this id. */
  readonly next: string | undefined;
  /** This is not the newest page. */
  readonly older: boolean;
  /** A message for the user, and what was typed. */
  readonly error?: string | undefined;
  readonly reference?: string | undefined;
  /** Where an image may come from. */
  readonly registries: readonly string[];
}

export function listPage(page: ListPage, nowMs: number): Html {
  const { status, error, reference, registries } = page;
  const example = `${registries[0]}/team/app:1.0`;
  return layout(
    "Conversions",
    "",
    // The newest page is kept up to date; older ones stand still.
    page.older ? "" : `events${status === undefined ? "" : `?status=${status}`}`,
    html`<form class="start" method="post" action="jobs">
        <label for="reference">Convert an image</label>
        <input id="reference" name="reference" required maxlength="1024" placeholder="${example}" value="${reference ?? ""}"
          autocomplete="off" spellcheck="false">
        <button class="primary">Start</button>
      </form>
      ${error !== undefined && html`<p class="error" role="alert">${error}</p>`}
      <nav id="filters">${filters(page)}</nav>
      <table>
        <thead><tr><th>Status</th><th>Image</th><th>Progress</th><th>Size</th><th>Time</th><th></th></tr></thead>
        <tbody id="rows">${rows(page.conversions, nowMs)}</tbody>
      </table>
      ${page.next !== undefined && html`<p class="more"><a rel="next" href="${query(status, page.next)}">Older</a></p>`}`,
  );
}

export function filters({ counts, status }: Pick<ListPage, "counts" | "status">): Html {
  const shown = FILTERS.map(([filter, text]) => {
    const count = filter === undefined ? undefined : (counts.get(filter) ?? 0);
    const current = filter === status && html` aria-current="page"`;
    return html`<a href="${query(filter)}"${current}>${text}${count !== undefined && html` <b>${count}</b>`}</a>`;
  });
  return html`${shown}`;
}

export function jobPage(conversion: Conversion, nowMs: number): Html {
  const { repository, tag } = conversion;
  const title = tag === null ? repository : `${repository}:${tag}`;
  return layout(
    title,
    "../",
    `events?id=${conversion.id}`,
    html`<p><a href="./">← All conversions</a></p>
      <div id="job">${jobBody(conversion, nowMs)}</div>`,
  );
}

export function jobBody(conversion: Conversion, nowMs: number): Html {
  const { repository, tag } = conversion;
  return html`<h2>${tag === null ? repository : `${repository}:${tag}`} ${badge(conversion)}</h2>
    ${details(conversion, nowMs)}<div class="actions">${actions(conversion)}</div>`;
}

function query(status: Status | undefined, after?: string): string {
  const parameters = new URLSearchParams({ ...(status && { status }), ...(after && { after }) });
  return parameters.size === 0 ? "./" : `./?${parameters}`;
}

/** @param base The way from the page to the service's root: it may stand behind a proxy, under any path. */
function layout(title: string, base: string, live: string, body: Html): Html {
  return html`<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>${title} · erofsify</title>
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <base href="${base === "" ? "./" : base}">
  <link rel="stylesheet" href="assets/style.css">
  <link rel="icon" href="assets/icon.svg" type="image/svg+xml">
  ${live !== "" && html`<noscript><meta http-equiv="refresh" content="10"></noscript>`}
  <script src="assets/page.js" defer></script>
</head>
<body data-live="${live}">
  <header><h1><a href="./">erofsify</a></h1><span>images to EROFS</span>
    <a class="api" href="openapi.json">API</a></header>
  <main>${body}</main>
</body>
</html>
`;
}
