import type { UntypedServiceImplementation } from "@grpc/grpc-js";
import { callerOf, callerOfSnapshot } from "./content-client.ts";
import { FilterError } from "./filters/index.ts";
import {
  type CallObserver,
  type Handler,
  type InfoMessage,
  type KindName,
  type Mount,
  ServiceError,
  streaming,
  type Timestamp,
  unary,
} from "./grpc/index.ts";
import type { Labels } from "./labels.ts";
import type { Snapshots } from "./snapshots.ts";
import type { Kind, Snapshot } from "./state/index.ts";

/** Snapshots in one message of a list, as containerd sends them. */
const LIST_BLOCK = 100;
const NANOS = 1_000_000_000n;
const KIND_NAMES: Readonly<Record<Kind, KindName>> = { active: "ACTIVE", view: "VIEW", committed: "COMMITTED" };

interface CreateRequest {
  readonly key: string;
  readonly parent: string;
  readonly labels: Labels;
}
interface KeyRequest {
  readonly key: string;
}
interface UpdateRequest {
  readonly info: InfoMessage | null;
  readonly updateMask: { readonly paths: readonly string[] } | null;
}

/** containerd.services.snapshots.v1.Snapshots. @param cleanup gives back what nothing needs */
export function snapshotsService(
  snapshots: Snapshots,
  cleanup: () => Promise<void>,
  observer: CallObserver,
): UntypedServiceImplementation {
  const call = <Request, Response>(method: string, handler: Handler<Request, Response>) =>
    unary(method, observer, handler);
  return {
    prepare: call("Prepare", async ({ key, parent, labels }: CreateRequest, metadata) => ({
      mounts: await snapshots.prepare(key, parent, labels, callerOf(metadata) ?? callerOfSnapshot(key)),
    })),
    view: call("View", async ({ key, parent, labels }: CreateRequest) => ({
      mounts: await snapshots.view(key, parent, labels),
    })),
    mounts: call(
      "Mounts",
      async ({ key }: KeyRequest): Promise<{ mounts: Mount[] }> => ({
        mounts: await snapshots.mounts(key),
      }),
    ),
    commit: call("Commit", async ({ name, key, labels }: KeyRequest & { name: string; labels: Labels }) => {
      await snapshots.commit(name, key, labels);
      return {};
    }),
    remove: call("Remove", async ({ key }: KeyRequest) => {
      await snapshots.remove(key);
      return {};
    }),
    stat: call("Stat", async ({ key }: KeyRequest) => ({ info: infoOf(snapshots.stat(key)) })),
    update: call("Update", async ({ info, updateMask }: UpdateRequest) => {
      if (info === null) throw new ServiceError("invalid argument", "an update without a snapshot");
      return { info: infoOf(snapshots.update(info.name, info.labels, updateMask?.paths ?? [])) };
    }),
    list: streaming("List", observer, ({ filters }: { filters: readonly string[] }) => blocks(snapshots, filters)),
    usage: call("Usage", async ({ key }: KeyRequest) => {
      const { sizeBytes, inodes } = await snapshots.usage(key);
      return { size: sizeBytes, inodes };
    }),
    cleanup: call("Cleanup", async () => {
      await cleanup();
      return {};
    }),
  };
}

function* blocks(snapshots: Snapshots, filters: readonly string[]): Generator<{ info: InfoMessage[] }> {
  let block: InfoMessage[] = [];
  try {
    for (const snapshot of snapshots.list(filters)) {
      block.push(infoOf(snapshot));
      if (block.length < LIST_BLOCK) continue;
      yield { info: block };
      block = [];
    }
  } catch (error) {
    if (error instanceof FilterError) throw new ServiceError("invalid argument", error.message);
    throw error;
  }
  if (block.length > 0) yield { info: block };
}

function infoOf({ name, parent, kind, createdNs, updatedNs, labels }: Snapshot): InfoMessage {
  const createdAt = timestampOf(createdNs);
  return { name, parent, kind: KIND_NAMES[kind], createdAt, updatedAt: timestampOf(updatedNs), labels };
}

function timestampOf(ns: bigint): Timestamp {
  return { seconds: Number(ns / NANOS), nanos: Number(ns % NANOS) };
}
