import { chmodSync, rmSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { Server, ServerCredentials, status } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { ConverterPool } from "../conversion/index.ts";
import { serveMetrics } from "../metrics/index.ts";
import { pullCredentials, pullCredentialsPath } from "../registry/index.ts";
import { makeFolders } from "../sys/index.ts";
import { Applier } from "./apply.ts";
import { ChainMounts } from "./chain-mounts.ts";
import { Chains } from "./chains.ts";
import { Comparer } from "./compare.ts";
import { ContentClient } from "./content-client.ts";
import { addImageProxy, CredentialFile, watchSecrets } from "./credentials/index.ts";
import { diffService } from "./diff-service.ts";
import { Folders } from "./folders.ts";
import { type CallObserver, loadServices } from "./grpc/index.ts";
import { LayerConversions } from "./layer-conversions.ts";
import { LookAhead } from "./look-ahead.ts";
import { Metrics } from "./metrics.ts";
import { MountAhead } from "./mount-ahead.ts";
import { restoreHolds, restoreMounts, sweep } from "./recovery.ts";
import { Leases, RemoteImages } from "./remote/index.ts";
import { Snapshots } from "./snapshots.ts";
import { snapshotsService } from "./snapshots-service.ts";
import { SnapshotTable } from "./state/index.ts";
import { StoreCare } from "./store-care.ts";
import { StoreHolds } from "./store-holds.ts";
import { VmImages } from "./vm-images.ts";
import type { VmForm } from "./vm-mounts.ts";

export interface SnapshotterOptions {
  /** Path of the Unix socket that containerd calls. */
  readonly address: string;
  /** Path of containerd's socket. */
  readonly containerd: string;
  /** The folder of the store; see blobd/store. */
  readonly store: string;
  /** The snapshotter's own folder; see folders.ts. */
  readonly root: string;
  /** The `erofsify` program: a JavaScript file. */
  readonly program: string;
  /** Where metrics are served, `host:port`; nowhere without it. */
  readonly metrics?: string | undefined;
  /** Most bytes that one layer may take on the disk; no limit without it. */
  readonly maxLayerBytes?: number | undefined;
  /** Whether images whose converted form is in the registry are served from there on demand; default true. */
  readonly onDemand?: boolean | undefined;
  /** Take what is attached to an image also when all that is known of the image is its digest; default false. */
  readonly trustReferrers?: boolean | undefined;
  /** A cluster whose pull secrets are used for registries: a file's path. */
  readonly kubeconfig?: string | undefined;
  /** How images are handed out unless a snapshot says it itself; default: for runc. */
  readonly vm?: VmForm | undefined;
  readonly log: Logger;
}

/** A snapshotter that serves. */
export interface RunningSnapshotter {
  /** Answers what is in work, then stops. Mounts stay: containers use them. */
  stop(): Promise<void>;
}

/** Mounts that fit in one message go both ways; containerd's limit for messages, in bytes. */
const MAX_MESSAGE_BYTES = 16 << 20;
/** How long calls in work may take to end, in ms. */
const STOP_GRACE_MS = 3000;

/**
 * Starts a snapshotter and differ for containerd, recovering first what an earlier process left.
 * @throws Error when another one uses the folder or socket; the system's errors
 */
export async function startSnapshotter(options: SnapshotterOptions): Promise<RunningSnapshotter> {
  const { log } = options;
  const root = checkedPath(options.root);
  const storeRoot = resolve(options.store);
  const env = pullCredentials(process.env, storeRoot);
  const folders = new Folders(root);
  folders.lock();
  const onWarning = (message: string, error: unknown) => log.warn({ error: textOf(error) }, message);
  const table = new SnapshotTable(folders.state);
  const pool = new ConverterPool({ program: options.program, onWarning: (message) => log.warn(message) });
  const leases = new Leases(storeRoot, (message) => log.warn(message));
  const metrics = new Metrics(
    storeRoot,
    () => countKinds(table),
    () => pool.load,
    () => leases.fetchedBytes(),
  );
  const content = new ContentClient(options.containerd);
  const holds = new StoreHolds(storeRoot, root, (message) => log.warn(message));
  const conversions = new LayerConversions({
    table,
    pool,
    content,
    holds,
    storeRoot,
    env,
    maxLayerBytes: options.maxLayerBytes ?? null,
    onConverted({ record, tar, cached }, seconds) {
      metrics.conversions.observe({ cached: String(cached) }, seconds);
      if (!cached) metrics.convertedBytes.inc(tar.tarBytes);
      log.info({ layer: record.layerDigest, tarBytes: tar.tarBytes, cached, seconds }, "layer in the store");
    },
  });
  const chains = new Chains({ table, folders, holds, pool, conversions, storeRoot });
  const mounts = new ChainMounts({
    table,
    folders,
    holds,
    chains,
    leases,
    storeRoot,
    onMounted(seconds, backing) {
      metrics.mounts.observe({ backing }, seconds);
      log.info({ seconds, backing }, "image mounted");
    },
  });
  const ahead = new MountAhead(table, mounts, (error) => log.debug({ error: textOf(error) }, "not mounted ahead"));
  // What containerd mounts itself is not mounted here.
  const mountsAhead = options.vm !== "layered";
  const onImage = mountsAhead ? ahead.image : () => {};
  const remotes = new RemoteImages({
    table,
    letGo: (request) => mounts.letGo(request),
    content,
    leases,
    env,
    trustReferrers: options.trustReferrers ?? false,
    onFound({ how, manifestDigest, sourceDigest }) {
      metrics.served.inc({ how });
      log.info({ image: sourceDigest, converted: manifestDigest, how }, "image is served on demand");
    },
    onRefused: (reason) => log.warn(reason),
    onWarning,
  });
  const form = options.vm ?? null;
  const vm = new VmImages({ table, folders, holds, chains, mounts, leases, pool, storeRoot, form });
  const snapshots = new Snapshots({
    table,
    folders,
    holds,
    mounts,
    vm,
    remotes: options.onDemand === false ? null : remotes,
    onWarning,
    onImage,
    onLayer: mountsAhead ? ahead.layer : () => {},
  });
  const lookAhead = new LookAhead({ table, content, conversions, onWarning });
  const applier = new Applier({
    table,
    folders,
    snapshots,
    conversions,
    content,
    holds,
    lookAhead,
    storeRoot,
    onImage,
  });
  const comparer = new Comparer({ table, folders, pool, content, vm });
  const recovery = { table, folders, holds, mounts, onWarning };
  const care = new StoreCare({
    table,
    pool,
    storeRoot,
    onPruned: (result) => log.info(result, "store pruned"),
    onWarning,
  });
  const cleanup = async () => {
    await sweep(recovery, false);
    await care.prune();
  };

  await sweep(recovery, true);
  await restoreHolds(recovery);
  const observer: CallObserver = {
    ended(method, seconds, code, error) {
      const name = status[code] ?? String(code);
      metrics.calls.observe({ method, code: name }, seconds);
      if (error === undefined) log.debug({ method, seconds }, "call");
      else
        log[isOrdinary(code) ? "debug" : "error"]({ method, seconds, code: name, error: textOf(error) }, "call failed");
    },
  };
  const services = loadServices();
  const server = new Server({ "grpc.max_receive_message_length": MAX_MESSAGE_BYTES });
  server.addService(services.snapshots.definition, snapshotsService(snapshots, cleanup, observer));
  server.addService(services.diff.definition, diffService(applier, comparer, observer));
  const closing = new AbortController();
  const credentialFile = new CredentialFile(pullCredentialsPath(storeRoot));
  const closeProxy = addImageProxy(server, options.containerd, credentialFile, onWarning);
  if (options.kubeconfig !== undefined)
    void watchSecrets(options.kubeconfig, credentialFile, onWarning, closing.signal);
  await listen(server, options.address);
  const http = options.metrics === undefined ? null : await serveMetrics(metrics.registry, options.metrics);
  void restoreMounts(
    recovery,
    (snapshot) => snapshots.isExtraction(snapshot) || vm.formOf(snapshot) !== null,
    closing.signal,
  );
  log.info({ address: options.address, root, store: storeRoot, snapshots: table.size }, "snapshotter serves");
  return {
    async stop() {
      http?.close();
      closing.abort();
      lookAhead.close();
      ahead.close();
      leases.close();
      await shutdown(server);
      // Calls in work have gone on to containerd by it.
      closeProxy();
      content.close();
      care.close();
      await pool.close();
      await table.close();
      folders.unlock();
      rmSync(options.address, { force: true });
    },
  };
}

function checkedPath(path: string): string {
  const absolute = resolve(path);
  if (/[:,\\\n]/.test(absolute)) throw new Error(`${absolute}: overlayfs options cannot have : , or \\ in a path`);
  return absolute;
}

function listen(server: Server, address: string): Promise<void> {
  makeFolders(dirname(resolve(address)), 0o711);
  rmSync(address, { force: true });
  return new Promise((done, reject) => {
    server.bindAsync(`unix:${resolve(address)}`, ServerCredentials.createInsecure(), (error) => {
      if (error !== null) return reject(error);
      chmodSync(address, 0o600);
      done();
    });
  });
}

function shutdown(server: Server): Promise<void> {
  return new Promise((done) => {
    // Forced, the server does not call back what waits for its end.
    const timer = setTimeout(() => {
      server.forceShutdown();
      done();
    }, STOP_GRACE_MS);
    server.tryShutdown(() => {
      clearTimeout(timer);
      done();
    });
  });
}

/** Answers that are part of the protocol. */
function isOrdinary(code: number): boolean {
  return [
    status.INVALID_ARGUMENT,
    status.NOT_FOUND,
    status.ALREADY_EXISTS,
    status.FAILED_PRECONDITION,
    status.UNIMPLEMENTED,
  ].includes(code);
}

function countKinds(table: SnapshotTable): Record<string, number> {
  const counts: Record<string, number> = { active: 0, view: 0, committed: 0 };
  for (const { kind } of table.all()) counts[kind]!++;
  return counts;
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return "code" in error ? error.message : (error.stack ?? error.message);
}
