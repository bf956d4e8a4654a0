/**
 * The registry-side job: registries tell what was pushed, and every image that a rule wants is converted once.
 *
 *     webhook, API, page ──► queue (pg-boss on PGlite or PostgreSQL) ──► worker ──► a process per conversion
 *                                     │                                     │
 *                                     └── a look at the manifest first ─────┘
 */
export { DatabaseError } from "./database/index.ts";
export { JobMetrics } from "./metrics/index.ts";
export { openQueue } from "./queue/index.ts";
export { createHealthServer, createServer, parseAuthorizationFile } from "./server/index.ts";
export { readJobSettings, SettingsError } from "./settings/index.ts";
export { Worker } from "./worker/index.ts";
