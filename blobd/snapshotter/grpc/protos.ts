import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadPackageDefinition, type ServiceClientConstructor, type ServiceDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

/** This file is dist/blobd/snapshotter/grpc/protos.js when it runs; the .proto files stay among the sources. */
const FOLDER = fileURLToPath(new URL("../../../../blobd/snapshotter/proto", import.meta.url));
const FILES = ["snapshots", "diff", "content", "introspection", "cri-images"].map((name) =>
  join(FOLDER, `${name}.proto`),
);

/** A service of containerd's API: its definition for a server, its constructor for a client. */
export interface Service {
  readonly definition: ServiceDefinition;
  readonly Client: ServiceClientConstructor;
}

const SERVICES = {
  snapshots: "containerd.services.snapshots.v1.Snapshots",
  diff: "containerd.services.diff.v1.Diff",
  content: "containerd.services.content.v1.Content",
  introspection: "containerd.services.introspection.v1.Introspection",
  cri: "runtime.v1.ImageService",
} as const;

type Services = Readonly<Record<keyof typeof SERVICES, Service>>;

let loaded: Services | undefined;

/**
 * containerd's API, read at the first call. In messages names are camel-cased, 64-bit integers are numbers (sizes and
 * offsets stay below 2^53), enums are their names, and every field is there with its default.
 */
export function loadServices(): Services {
  loaded ??= load();
  return loaded;
}

function load(): Services {
  const options = { longs: Number, enums: String, defaults: true, includeDirs: [FOLDER] };
  const root = loadPackageDefinition(loadSync(FILES, options));
  const service = (name: string): Service => {
    const found = name.split(".").reduce((at: unknown, part) => (at as Record<string, unknown>)[part], root);
    const Client = found as ServiceClientConstructor;
    return { definition: Client.service, Client };
  };
  return {
    snapshots: service(SERVICES.snapshots),
    diff: service(SERVICES.diff),
    content: service(SERVICES.content),
    introspection: service(SERVICES.introspection),
    cri: service(SERVICES.cri),
  };
}
