/** For tests: Kubernetes' container runtime interface, as kubelet calls it. */
import { fileURLToPath } from "node:url";
import { type Client, credentials, loadPackageDefinition, type ServiceClientConstructor } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import type { ContainerdLab } from "./lab.ts";

/** This file is dist/samples/containerd/testing-cri.js when it runs. */
const PROTO = fileURLToPath(new URL("../../../samples/containerd/cri-test.proto", import.meta.url));

/** A connection to containerd, and one to our proxy of its image service. */
export interface Cri {
  readonly runtime: Client;
  readonly images: Client;
  close(): void;
}

export function connectCri(lab: ContainerdLab): Cri {
  const services = loadPackageDefinition(loadSync(PROTO, { enums: String, defaults: true })) as unknown as {
    runtime: { v1: Record<"RuntimeService" | "ImageService", ServiceClientConstructor> };
  };
  const { RuntimeService, ImageService } = services.runtime.v1;
  const runtime = new RuntimeService(`unix:${lab.socket}`, credentials.createInsecure());
  const images = new ImageService(`unix:${lab.address}`, credentials.createInsecure());
  return {
    runtime,
    images,
    close() {
      runtime.close();
      images.close();
    },
  };
}

/** Any call. @throws the gRPC error */
export function callCri<T>(client: Client, method: string, request: object): Promise<T> {
  const invoke = (
    client as unknown as Record<string, (request: object, done: (e: Error | null, a: T) => void) => void>
  )[method]!;
  return new Promise((resolve, reject) =>
    invoke.call(client, request, (error, answer) => (error === null ? resolve(answer) : reject(error))),
  );
}
