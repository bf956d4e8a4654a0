import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse, request as send } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";

const OCI_INDEX = "application/vnd.oci.image.index.v1+json";

/** A registry with the referrers API of OCI distribution 1.1. */
export interface ReferrersProxy {
  readonly host: string;
  /** Requests as `GET /v2/…`. */
  readonly requests: readonly string[];
  stop(): void;
}

/** Which requests are refused, and how: status and the words of the registry. */
export type Refusal = (method: string, path: string) => readonly [status: number, message: string] | undefined;

/**
 * Stands before a registry that does not know the referrers API, such as Debian's, and adds it: manifests with a subject are
 * answered with OCI-Subject, and listed by it. Everything else passes.
 */
export async function startReferrersProxy(host: string, refuse: Refusal = () => undefined): Promise<ReferrersProxy> {
  const attached = new Map<string, object[]>();
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    const refusal = refuse(request.method!, request.url!);
    if (refusal !== undefined) {
      const [status, message] = refusal;
      request.resume();
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify({ errors: [{ code: "DENIED", message }] }));
      return;
    }
    const subject = /\/referrers\/(sha256:[0-9a-f]{64})/.exec(request.url ?? "")?.[1];
    if (subject === undefined) void pass(request, response);
    else {
      const type = new URL(request.url!, "http://proxy").searchParams.get("artifactType");
      const manifests = (attached.get(subject) ?? []).filter(
        (one) => type === null || (one as { artifactType?: string }).artifactType === type,
      );
      response.writeHead(200, { "content-type": OCI_INDEX, "oci-filters-applied": "artifactType" });
      response.end(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }));
    }
  });
  const pass = async (request: IncomingMessage, response: ServerResponse) => {
    const body = await buffer(request);
    const [hostname, port] = host.split(":");
    const headers = { ...request.headers, "content-length": String(body.length) };
    // The registry names itself in Location by the Host header, so that answers lead back here.
    const { method, url } = request;
    const forwarded = send({ hostname, port, method, path: url, headers }, (answer) => {
      const subject = method === "PUT" && url!.includes("/manifests/") ? subjectOf(body) : undefined;
      if (subject !== undefined && answer.statusCode === 201) list(subject, body);
      const more = subject === undefined ? {} : { "oci-subject": subject };
      response.writeHead(answer.statusCode!, { ...answer.headers, ...more });
      answer.pipe(response);
    });
    forwarded.on("error", () => response.destroy());
    forwarded.end(body);
  };
  const list = (subject: string, body: Buffer) => {
    const { mediaType, artifactType } = JSON.parse(body.toString());
    const digest = `sha256:${createHash("sha256").update(body).digest("hex")}`;
    const before = (attached.get(subject) ?? []).filter((one) => (one as { digest: string }).digest !== digest);
    attached.set(subject, [...before, { mediaType, digest, size: body.length, artifactType }]);
  };
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const stop = () => {
    server.closeAllConnections();
    server.close();
  };
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, requests, stop };
}

function subjectOf(manifest: Buffer): string | undefined {
  return (JSON.parse(manifest.toString()) as { subject?: { digest: string } }).subject?.digest;
}
