/** Fetching converted images whole. */
export { type PullOptions, type PullResult, pullImage } from "./pull-image.ts";
