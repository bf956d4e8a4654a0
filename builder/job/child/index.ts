/** What runs in the process of one conversion; apart from the service, so that it loads nothing of it. */
export { convertOne } from "./convert-one.ts";
