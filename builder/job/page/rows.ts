import { type Conversion, isFinal, pushTargets, referenceText, type Status } from "../queue/index.ts";
import { type Html, html } from "./html.ts";
import { agoText, bytesText, durationText } from "./words.ts";

const STATUS_TEXT: Readonly<Record<Status, string>> = {
  looking: "looking up",
  queued: "queued",
  running: "converting",
  done: "done",
  failed: "failed",
  cancelled: "cancelled",
  ignored: "left alone",
  merged: "answered",
};

/** The table's rows, newest conversion first. */
export function rows(conversions: readonly Conversion[], nowMs: number): Html {
  if (conversions.length === 0)
    return html`<tr class="empty"><td colspan="6">Nothing yet. Push an image to a registry whose notifications come here, or
      start a conversion above.</td></tr>`;
  return html`${conversions.map((conversion) => row(conversion, nowMs))}`;
}

function row(conversion: Conversion, nowMs: number): Html {
  const { id, registry, repository, tag, digest, status } = conversion;
  return html`<tr data-id="${id}" data-status="${status}">
    <td>${badge(conversion)}</td>
    <td class="image"><a href="jobs/${id}">${tag === null ? repository : `${repository}:${tag}`}</a>
      <small>${registry}${digest && html` · <code>${digest.slice(7, 19)}</code>`}${platforms(conversion)}</small>
      ${trouble(conversion, nowMs)}</td>
    <td class="progress">${progress(conversion)}</td>
    <td class="size">${sizes(conversion)}</td>
    <td class="time">${times(conversion, nowMs)}</td>
    <td class="actions">${actions(conversion)}</td>
  </tr>`;
}

export function badge({ status, phase, cancelRequested }: Conversion): Html {
  const text = cancelRequested ? "stopping" : status === "running" && phase ? phase : STATUS_TEXT[status];
  return html`<span class="badge ${status}">${text}</span>`;
}

function platforms({ platforms }: Conversion): Html | false {
  return platforms.length > 0 && html` · ${platforms.join(", ")}`;
}

function trouble({ status, reason, attempt, nextTry }: Conversion, nowMs: number): Html | false {
  if (reason === null || status === "done") return false;
  const again =
    nextTry !== null && nextTry.getTime() > nowMs
      ? `attempt ${attempt} failed, next in ${durationText(nextTry.getTime() - nowMs)}: `
      : "";
  return html`<small class="reason">${again}${reason}</small>`;
}

function progress({ status, doneBytes, totalBytes }: Conversion): Html | false {
  if (status !== "running" || totalBytes === null || totalBytes === 0) return false;
  const done = Math.min(doneBytes ?? 0, totalBytes);
  return html`<progress max="${totalBytes}" value="${done}"></progress>
    <small>${bytesText(done)} of ${bytesText(totalBytes)}</small>`;
}

function sizes({ sourceBytes, targetBytes }: Conversion): Html | false {
  if (sourceBytes === null) return false;
  if (targetBytes === null) return html`${bytesText(sourceBytes)}`;
  const ratio = sourceBytes > 0 && html` <small>${Math.round((100 * targetBytes) / sourceBytes)} %</small>`;
  return html`${bytesText(sourceBytes)} → ${bytesText(targetBytes)}${ratio}`;
}

function times({ created, started, finished, status }: Conversion, nowMs: number): Html {
  const running = status === "running" && started !== null && durationText(nowMs - started.getTime());
  const took =
    status === "done" && started !== null && finished !== null && durationText(finished.getTime() - started.getTime());
  return html`${running || took}<small><time datetime="${created.toISOString()}">${agoText(created, nowMs)}</time></small>`;
}

export function actions({ id, status, cancelRequested }: Conversion): Html | false {
  const button = (verb: string, text: string) =>
    html`<form method="post" action="jobs/${id}/${verb}"><button>${text}</button></form>`;
  if (status === "merged") return false;
  if (isFinal(status)) return button("retry", status === "done" ? "Convert again" : "Retry");
  return !cancelRequested && button("cancel", "Cancel");
}

/** Where the converted images are, as soon as that is known. */
function places(conversion: Conversion): string | false {
  const { form, targetTag, digest } = conversion;
  if (digest === null || (form !== "referrer" && targetTag === null)) return false;
  const references = new Set(pushTargets(conversion).map(({ reference }) => reference));
  return `${form === "referrer" ? "attached to " : ""}${[...references].join(", ")}`;
}

/** All that is known of one conversion. */
export function details(conversion: Conversion, nowMs: number): Html {
  const { registry, repository, tag, digest, started, finished } = conversion;
  const time = (date: Date | null) => date && `${date.toISOString().replace("T", " ").slice(0, 19)} UTC`;
  const facts: [string, Html | string | number | null | false][] = [
    ["Source", referenceText({ registry, repository, tag })],
    ["Digest", digest && html`<code>${digest}</code>`],
    ["Platforms", conversion.platforms.join(", ")],
    ["Converted image", places(conversion)],
    ["Its digest", conversion.targetDigest && html`<code>${conversion.targetDigest}</code>`],
    ["Size", sizes(conversion)],
    ["Progress", progress(conversion)],
    ["Reason", conversion.reason],
    ["Error code", conversion.errorCode],
    ["Attempts", conversion.attempt],
    ["Asked for by", `${conversion.origin}, ${conversion.events} time${conversion.events === 1 ? "" : "s"}`],
    ["Created", time(conversion.created)],
    ["Started", time(started)],
    ["Finished", time(finished)],
    ["Took", started && finished && durationText(finished.getTime() - started.getTime())],
    ["Next attempt", conversion.nextTry && conversion.nextTry.getTime() > nowMs && time(conversion.nextTry)],
    ["Worker", conversion.worker],
    [
      "Answered by",
      conversion.mergedInto && html`<a href="jobs/${conversion.mergedInto}">${conversion.mergedInto}</a>`,
    ],
  ];
  const shown = facts.filter(([, value]) => value !== null && value !== false && value !== "");
  return html`<dl>${shown.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}
