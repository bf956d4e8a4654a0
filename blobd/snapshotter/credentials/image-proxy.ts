import { Client, credentials, type Server, type ServerUnaryCall, type sendUnaryData } from "@grpc/grpc-js";
import { parseReference } from "../../../formats/oci/index.ts";
import { loadServices } from "../grpc/index.ts";
import type { AuthEntry, CredentialFile } from "./credential-file.ts";

const SERVICE = "/runtime.v1.ImageService/";
const METHODS = ["ListImages", "ImageStatus", "PullImage", "RemoveImage", "ImageFsInfo"] as const;

interface PullRequest {
  readonly image: { readonly image: string } | null;
  readonly auth: Readonly<Record<"username" | "password" | "auth" | "identityToken" | "registryToken", string>> | null;
}

const asIs = (bytes: Buffer) => bytes;

/**
 * Serves the image service of the container runtime interface in front of containerd's: kubelet is pointed here
 * (`--image-service-endpoint`), and the credentials that it pulls with are noted. Messages go on byte by byte.
 * @param address containerd's socket: a path
 * @returns ends the connection to containerd
 */
export function addImageProxy(
  server: Server,
  address: string,
  file: CredentialFile,
  onWarning: (message: string, error: unknown) => void,
): () => void {
  const client = new Client(`unix:${address}`, credentials.createInsecure());
  const decode = loadServices().cri.definition.PullImage!.requestDeserialize as (bytes: Buffer) => PullRequest;
  const definition = Object.fromEntries(
    METHODS.map((name) => [
      name,
      {
        path: `${SERVICE}${name}`,
        requestStream: false,
        responseStream: false,
        requestSerialize: asIs,
        requestDeserialize: asIs,
        responseSerialize: asIs,
        responseDeserialize: asIs,
      },
    ]),
  );
  const forward = (name: string) => (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
    if (name === "PullImage") note(call.request, decode, file, onWarning);
    const options = { deadline: call.getDeadline() };
    const sent = client.makeUnaryRequest(`${SERVICE}${name}`, asIs, asIs, call.request, call.metadata, options, done);
    call.on("cancelled", () => sent.cancel());
  };
  server.addService(definition, Object.fromEntries(METHODS.map((name) => [name, forward(name)])));
  return () => client.close();
}

/** Credentials are for what is pulled with them, and nothing else of that registry. What is wrong with it, containerd says. */
function note(
  bytes: Buffer,
  decode: (bytes: Buffer) => PullRequest,
  file: CredentialFile,
  onWarning: (message: string, error: unknown) => void,
): void {
  try {
    const { image, auth } = decode(bytes);
    const entry = auth === null ? undefined : entryOf(auth);
    if (entry === undefined || image === null) return;
    const { registry, repository } = parseReference(image.image);
    file.add(`${registry}/${repository}`, entry);
  } catch (error) {
    onWarning("the credentials of a pull are not noted", error);
  }
}

function entryOf(auth: NonNullable<PullRequest["auth"]>): AuthEntry | undefined {
  if (auth.identityToken) return { identitytoken: auth.identityToken };
  if (auth.registryToken) return { registrytoken: auth.registryToken };
  if (auth.auth) return { auth: auth.auth };
  if (auth.username) return { auth: Buffer.from(`${auth.username}:${auth.password}`).toString("base64") };
  return undefined;
}
