/** For tests and the benchmark: an image's converted form in a registry, where a snapshotter finds it. */
import { createHash } from "node:crypto";
import { erofsify } from "../../builder/testkit/index.ts";
import { EROFS_ARTIFACT, EROFS_FEATURE, MANIFEST_TYPES, OCI_INDEX, OCI_MANIFEST } from "../../formats/oci/index.ts";

interface Described {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/**
 * Converts an image of a registry and puts the result where it is found by the image's name: attached to it, or beside it in
 * an index that takes the tag over.
 * @returns what the registry stores of it, in bytes
 */
export async function addConverted(image: string, store: string, how: "referrer" | "index"): Promise<number> {
  const { status, stdout, stderr } = await erofsify(["push", "--json", "--store", store, image]);
  if (status !== 0) throw new Error(`erofsify push ${image}: ${stderr}`);
  const [, host, repository, tag] = /^([^/]+)\/(.+):([^:]+)$/.exec(image)!;
  const base = `http://${host}/v2/${repository}/manifests/`;
  const source = await get(`${base}${tag}`);
  const converted = await get(`${base}${tag}-erofs`);
  const platform = { os: "linux", architecture: process.arch === "x64" ? "amd64" : process.arch };
  if (how === "index") {
    const entries = [
      { ...source.descriptor, platform },
      { ...converted.descriptor, platform: { ...platform, "os.features": [EROFS_FEATURE] } },
    ];
    await put(`${base}${tag}`, OCI_INDEX, indexOf(entries));
  } else {
    const document = { ...JSON.parse(converted.bytes.toString()), artifactType: EROFS_ARTIFACT };
    const attached = Buffer.from(JSON.stringify({ ...document, subject: source.descriptor }));
    const descriptor = describe(OCI_MANIFEST, attached);
    await put(`${base}${descriptor.digest}`, OCI_MANIFEST, attached);
    const list = indexOf([{ ...descriptor, artifactType: EROFS_ARTIFACT }]);
    await put(`${base}${source.descriptor.digest.replace(":", "-")}`, OCI_INDEX, list);
  }
  return JSON.parse(stdout).storedBytes;
}

async function get(url: string): Promise<{ readonly descriptor: Described; readonly bytes: Buffer }> {
  const answer = await fetch(url, { headers: { accept: MANIFEST_TYPES.join(", ") } });
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  const bytes = Buffer.from(await answer.arrayBuffer());
  return { descriptor: describe(answer.headers.get("content-type")!, bytes), bytes };
}

async function put(url: string, mediaType: string, body: Buffer): Promise<void> {
  const answer = await fetch(url, { method: "PUT", headers: { "content-type": mediaType }, body });
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
}

function describe(mediaType: string, bytes: Buffer): Described {
  return { mediaType, digest: `sha256:${createHash("sha256").update(bytes).digest("hex")}`, size: bytes.length };
}

function indexOf(manifests: readonly object[]): Buffer {
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }));
}
