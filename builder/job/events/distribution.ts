/**
 * Notifications of the CNCF distribution registry, 2.x and 3.x (media types `application/vnd.docker.distribution.events.v1+json`
 * and v2: the fields read here are the same). Source: distribution, notifications/event.go; docs, "Work with notifications".
 */
import { DocumentError, isIndex, isManifest, JsonObject, parseDigest } from "../../../formats/oci/index.ts";
import { checkHost, checkName } from "./names.ts";
import { MAX_EVENTS, MAX_NOTIFICATION_BYTES, type Notification, type PushEvent } from "./push-event.ts";

/** What our own requests carry. A converted image that this converter pushed need not be looked at. */
const OUR_USER_AGENT = /^erofsify(?:\/|$)/;

/**
 * The pushes of manifests in an envelope. Layers, pulls, mounts and deletions are passed over, and events of kinds that
 * this code does not know too.
 * @throws DocumentError
 * @example parseDistributionNotification(Buffer.from('{"events":[]}')).pushes // []
 */
export function parseDistributionNotification(body: Uint8Array): Notification {
  const events = JsonObject.parse(body, "notification", MAX_NOTIFICATION_BYTES).objects("events", MAX_EVENTS);
  const pushes = events.map(pushOf).filter((push) => push !== undefined);
  return { pushes, passedOver: events.length - pushes.length };
}

function pushOf(event: JsonObject): PushEvent | undefined {
  if (event.string("action") !== "push") return undefined;
  const target = event.object("target");
  const mediaType = target.optionalString("mediaType") ?? "";
  if (!isManifest(mediaType) && !isIndex(mediaType)) return undefined;
  const request = event.optionalObject("request");
  if (OUR_USER_AGENT.test(request?.optionalString("useragent") ?? "")) return undefined;
  const host = request?.optionalString("host") || urlHost(target);
  const repository = target.string("repository");
  const tag = target.optionalString("tag") || undefined;
  const digest = parseDigest(target.string("digest"), `${target.path}.digest`);
  checkHost(host, `${event.path}.request.host`);
  checkName(repository, tag, target.path);
  return { host, repository, digest, ...(tag !== undefined && { tag }) };
}

function urlHost(target: JsonObject): string {
  const url = target.optionalString("url") ?? "";
  if (!URL.canParse(url))
    throw new DocumentError("ERR_BAD_VALUE", `${target.path}.url`, "found no registry's host here nor in request.host");
  return new URL(url).host;
}
