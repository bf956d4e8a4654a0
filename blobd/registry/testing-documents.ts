/** Images and their converted forms as documents, for tests of who finds them: no layer has any bytes. */
import type { IncomingMessage, ServerResponse } from "node:http";
import {
  type Digest,
  EROFS_ARTIFACT,
  EROFS_LAYER,
  OCI_CONFIG,
  OCI_INDEX,
  OCI_MANIFEST,
  SOURCE_ANNOTATION,
} from "../../formats/oci/index.ts";
import type { Fault } from "./testing.ts";
import { sha256 } from "./verify.ts";

/** A descriptor as it stands in documents. */
export interface Described {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly platform?: object;
  readonly artifactType?: string;
}

/** Fields of a converted image's manifest that a test sets, or (undefined) takes away. */
export interface ErofsFields {
  readonly source?: Digest | undefined;
  readonly subject?: Described | undefined;
  readonly architecture?: string;
  /** Of the last layer. */
  readonly annotations?: Readonly<Record<string, string>>;
}

/** What one repository holds. */
export class TestDocuments {
  readonly #manifests = new Map<string, { mediaType: string; bytes: Buffer }>();
  readonly #blobs = new Map<string, Buffer>();
  /** Answers of the referrers API, by what follows `referrers/`; none: the registry has no such API. */
  readonly referrers = new Map<string, { bytes: Buffer; link?: string; type?: string; status?: number }>();

  /** An image with one layer of tar. */
  tarImage(architecture = "amd64"): Described {
    const diffId = sha256(Buffer.from(`tar ${architecture}`));
    const config = this.#blob({ architecture, os: "linux", rootfs: { type: "layers", diff_ids: [diffId] } });
    const layers = [{ mediaType: "application/vnd.oci.image.layer.v1.tar", digest: diffId, size: 10 }];
    return this.#manifest({ config: { mediaType: OCI_CONFIG, ...config }, layers });
  }

  /** A converted image of one file system without devices. */
  erofsImage({ source, subject, architecture = "amd64", annotations }: ErofsFields = {}): Described {
    const digest = sha256(Buffer.from(`erofs ${architecture}`));
    const config = this.#blob({
      architecture,
      os: "linux",
      "os.features": ["erofs"],
      rootfs: { type: "layers", diff_ids: [digest] },
    });
    return this.#manifest({
      ...(subject && { artifactType: EROFS_ARTIFACT }),
      config: { mediaType: OCI_CONFIG, ...config },
      layers: [{ mediaType: EROFS_LAYER, digest, size: 4096, ...(annotations && { annotations }) }],
      ...(subject && { subject }),
      ...(source && { annotations: { [SOURCE_ANNOTATION]: source } }),
    });
  }

  index(entries: readonly Described[]): Described {
    return this.#put(OCI_INDEX, { schemaVersion: 2, mediaType: OCI_INDEX, manifests: entries });
  }

  tag(name: string, { mediaType, digest }: Described): void {
    this.#manifests.set(name, { mediaType, bytes: this.#manifests.get(digest)!.bytes });
  }

  /** The bytes of a manifest or index. */
  bytesOf({ digest }: Described): Buffer {
    return this.#manifests.get(digest)!.bytes;
  }

  /** Any bytes as a manifest, under their digest. */
  put(mediaType: string, bytes: Buffer): Described {
    const digest = sha256(bytes);
    this.#manifests.set(digest, { mediaType, bytes });
    return { mediaType, digest, size: bytes.length };
  }

  /** Puts other bytes under a name. */
  replace(name: string, bytes: Buffer): void {
    this.#manifests.set(name, { mediaType: this.#manifests.get(name)!.mediaType, bytes });
  }

  /** Lists what is attached to a manifest, as the API does it. */
  attach(subject: Described, entries: readonly Described[], link?: string): void {
    this.attachAt(`${subject.digest}?artifactType=${encodeURIComponent(EROFS_ARTIFACT)}`, entries, link);
  }

  attachAt(path: string, entries: readonly Described[], link?: string): void {
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: entries }));
    this.referrers.set(path, { bytes, ...(link !== undefined && { link }) });
  }

  /** Answers every request. */
  get answer(): Fault {
    return (request, response) => {
      this.#serve(request, response);
      return true;
    };
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const [, kind, name = ""] = /\/(manifests|blobs|referrers)\/(.+)$/.exec(request.url ?? "") ?? [];
    if (kind === "manifests" && this.#manifests.has(name)) {
      const { mediaType, bytes } = this.#manifests.get(name)!;
      response.writeHead(200, { "content-type": mediaType }).end(bytes);
    } else if (kind === "blobs" && this.#blobs.has(name)) response.writeHead(200).end(this.#blobs.get(name));
    else if (kind === "referrers" && this.referrers.has(name)) {
      const { bytes, link, type = OCI_INDEX, status = 200 } = this.referrers.get(name)!;
      response.writeHead(status, { "content-type": type, ...(link !== undefined && { link }) }).end(bytes);
    } else response.writeHead(404).end();
  }

  #blob(document: object): { digest: Digest; size: number } {
    const bytes = Buffer.from(JSON.stringify(document));
    const digest = sha256(bytes);
    this.#blobs.set(digest, bytes);
    return { digest, size: bytes.length };
  }

  #manifest(fields: object): Described {
    return this.#put(OCI_MANIFEST, { schemaVersion: 2, mediaType: OCI_MANIFEST, ...fields });
  }

  #put(mediaType: string, document: object): Described {
    return this.put(mediaType, Buffer.from(JSON.stringify(document)));
  }
}
