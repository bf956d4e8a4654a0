/** Checking EROFS images and counting what they hold. */
export { type CheckOptions, type CheckResult, checkErofs, imageStats } from "./check.ts";
export type { CheckProblem } from "./problems.ts";
export type { DeviceStats, ImageStats } from "./stats.ts";
