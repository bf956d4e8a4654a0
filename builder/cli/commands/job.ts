import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { FastifyInstance } from "fastify";
import { type Logger, pino } from "pino";
import { defaultStoreRoot } from "../../../blobd/store/index.ts";
import {
  createHealthServer,
  createServer,
  JobMetrics,
  openQueue,
  parseAuthorizationFile,
  readJobSettings,
  Worker,
} from "../../job/index.ts";
import { UsageError } from "../exit.ts";
import { onInterrupt } from "../interrupt.ts";

export interface JobCommandOptions {
  readonly listen?: string;
  readonly config?: string;
  readonly registry?: readonly string[];
  readonly database?: string;
  readonly store?: string;
  readonly conversions: string;
  readonly authorizationFile?: string;
  readonly drain: string;
  readonly logLevel: string;
}

const LOG_LEVELS = ["debug", "info", "warn", "error", "silent"];

/** `erofsify job serve`: HTTP, and conversions unless --conversions is 0. */
export async function serve(options: JobCommandOptions, version: string): Promise<void> {
  const address = parseAddress(options.listen ?? "127.0.0.1:2077");
  const authorization = acceptedHeaders(options.authorizationFile);
  if (authorization.length === 0 && !isLoopback(address.host))
    throw new UsageError(
      `--listen ${options.listen}: whoever reaches it could start conversions; name accepted Authorization headers ` +
        "with --authorization-file, or listen on 127.0.0.1",
    );
  await runJob(options, (parts) => createServer({ ...parts, authorization, version }), address);
}

/** `erofsify job work`: conversions only; HTTP for health and metrics when it is to listen. */
export async function work(options: JobCommandOptions): Promise<void> {
  if (!/^postgres(?:ql)?:/.test(databaseOf(options)))
    throw new UsageError("--database: several workers need PostgreSQL, expected postgres://…");
  const address = options.listen === undefined ? undefined : parseAddress(options.listen);
  await runJob(options, async (parts) => createHealthServer(parts), address);
}

type Parts = Pick<Parameters<typeof createServer>[0], "queue" | "metrics" | "log">;

async function runJob(
  options: JobCommandOptions,
  create: (parts: Parts) => Promise<FastifyInstance>,
  address: { host: string; port: number } | undefined,
): Promise<void> {
  const conversions = parseCount("--conversions", options.conversions, 64);
  const drainMs = parseCount("--drain", options.drain, 3600) * 1000;
  const settings = await readJobSettings(options.config, options.registry ?? []);
  const log = createLog(options.logLevel);
  const interrupt = onInterrupt();
  const queue = await openQueue(databaseOf(options), settings, (message) => log.warn(message));
  try {
    const metrics = new JobMetrics(queue.db);
    const server = await create({ queue, metrics, log });
    const storeRoot = options.store ?? defaultStoreRoot();
    const worker = conversions === 0 ? undefined : new Worker(queue, { storeRoot, conversions, log, metrics });
    await worker?.start();
    if (address !== undefined) await server.listen(address);
    log.info({ queue: queue.db.description, store: storeRoot, conversions, worker: worker?.name }, "ready");
    await aborted(interrupt.signal);
    log.info("stopping");
    await Promise.all([server.close(), worker?.stop(drainMs)]);
  } finally {
    await queue.close();
    interrupt.dispose();
  }
}

function databaseOf({ database, store }: JobCommandOptions): string {
  return database ?? join(store ?? defaultStoreRoot(), "..", "erofsify-queue");
}

function createLog(level: string): Logger {
  if (!LOG_LEVELS.includes(level)) throw new UsageError(`--log-level ${level}: expected ${LOG_LEVELS.join(", ")}`);
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime });
}

function acceptedHeaders(path: string | undefined): string[] {
  if (path === undefined) return [];
  let accepted: string[];
  try {
    accepted = parseAuthorizationFile(readFileSync(path, "utf8"));
  } catch (error) {
    throw new UsageError(`--authorization-file ${path}: ${(error as Error).message}`);
  }
  if (accepted.length === 0) throw new UsageError(`--authorization-file ${path}: has no line`);
  return accepted;
}

function parseAddress(text: string): { host: string; port: number } {
  const match = /^(?:(.*):)?(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (match === null || port > 65535) throw new UsageError(`--listen ${text}: expected HOST:PORT`);
  return { host: (match[1] || "0.0.0.0").replace(/^\[(.*)\]$/, "$1"), port };
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\./.test(host);
}

function parseCount(option: string, text: string, max: number): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || count > max) throw new UsageError(`${option} ${text}: expected a number from 0 to ${max}`);
  return count;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
