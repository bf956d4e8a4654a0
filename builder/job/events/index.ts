/** What registries tell when somebody pushes: bytes in, pushes out. No I/O. */
export { parseDistributionNotification } from "./distribution.ts";
export { parseHarborNotification } from "./harbor.ts";
export { checkHost, referenceOf } from "./names.ts";
export { MAX_NOTIFICATION_BYTES, type Notification, type PushEvent } from "./push-event.ts";
