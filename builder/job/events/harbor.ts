/**
 * Harbor's webhook, in its default form and as CloudEvents, and what clients of the acceleration-service send, which is the
 * default form with `resource_url` alone. Sources: acceleration-service, pkg/model/model.go; Harbor docs, "Configure
 * Webhook Notifications".
 */
import { DocumentError, JsonObject, parseDigest } from "../../../formats/oci/index.ts";
import { checkHost, referenceOf, shown } from "./names.ts";
import { MAX_EVENTS, MAX_NOTIFICATION_BYTES, type Notification, type PushEvent } from "./push-event.ts";

const PUSHED = "PUSH_ARTIFACT";
const CLOUD_EVENT_PUSHED = "harbor.artifact.pushed";

/**
 * The pushes in a webhook's payload. Types other than a push are passed over, as the acceleration-service does.
 * @throws DocumentError
 * @example
 * parseHarborNotification(Buffer.from(
 *   '{"type":"PUSH_ARTIFACT","event_data":{"resources":[{"resource_url":"harbor.lan/library/app:1"}]}}'))
 */
export function parseHarborNotification(body: Uint8Array): Notification {
  const payload = JsonObject.parse(body, "payload", MAX_NOTIFICATION_BYTES);
  const type = payload.string("type");
  if (type !== PUSHED && type !== CLOUD_EVENT_PUSHED) return { pushes: [], passedOver: 1 };
  const data = payload.object(type === PUSHED ? "event_data" : "data");
  return { pushes: data.objects("resources", MAX_EVENTS).map(pushOf), passedOver: 0 };
}

function pushOf(resource: JsonObject): PushEvent {
  const url = resource.string("resource_url");
  const path = `${resource.path}.resource_url`;
  const slash = url.indexOf("/");
  if (slash < 1) throw new DocumentError("ERR_BAD_VALUE", path, `found ${shown(url)}, expected host/repository:tag`);
  // What stands before the first slash is the registry, whatever it looks like: "harbor/library/app" has no dot in it.
  const host = url.slice(0, slash);
  checkHost(host, path);
  const { repository, tag, digest } = referenceOf(`registry.invalid/${url.slice(slash + 1)}`, path);
  const told = resource.optionalString("digest");
  const known = told ? parseDigest(told, `${resource.path}.digest`) : digest;
  return { host, repository, ...(tag !== undefined && { tag }), ...(known && { digest: known }) };
}
