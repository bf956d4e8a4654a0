/** Blobs and manifests up to a repository. OCI distribution spec, "Push". */
import { type Digest, SourceError } from "../../formats/oci/index.ts";
import type { RegistryClient, RepositoryRequest } from "./client.ts";
import { type Answer, header } from "./http.ts";
import { Attempts, type RetryPolicy, retrying } from "./retry.ts";

/** An upload that the registry does not know any more, or of which it has other bytes than were sent: begin anew. */
export class UploadLost extends SourceError {}

/** Pushes to one repository. */
export class RepositoryWriter {
  readonly client: RegistryClient;
  readonly #retry: RetryPolicy;
  readonly #signal: AbortSignal | undefined;

  constructor(client: RegistryClient, retry: RetryPolicy, signal?: AbortSignal) {
    this.client = client;
    this.#retry = retry;
    this.#signal = signal;
  }

  /** Whether the repository has the blob. @throws SourceError */
  async hasBlob(digest: Digest): Promise<boolean> {
    const what = `blob ${digest}`;
    const status = await this.#simple({ method: "HEAD", path: `blobs/${digest}`, what }, [200, 404]);
    return status === 200;
  }

  /** Makes a blob of another repository of the registry one of this too. @returns whether the registry has done so */
  async mountBlob(digest: Digest, from: string): Promise<boolean> {
    const what = `blob ${digest}`;
    const path = `blobs/uploads/?mount=${encodeURIComponent(digest)}&from=${encodeURIComponent(from)}`;
    return retrying(this.#retry, this.#signal, async () => {
      const answer = await this.client.exchange({ method: "POST", path, what });
      const { statusCode } = answer.response;
      if (statusCode !== 201 && statusCode !== 202) {
        // Not allowed to see the other repository: then the blob is sent.
        if (statusCode < 500 && statusCode !== 429) return dumped(answer, false);
        throw await this.client.refusal(answer, what);
      }
      if (statusCode === 201) return dumped(answer, true);
      // The registry has begun an upload instead.
      const location = this.client.locationOf(answer, what);
      await dumped(answer, false);
      await this.#cancel(location);
      return false;
    });
  }

  /** Starts an upload. @throws SourceError */
  async startUpload(what: string): Promise<BlobUpload> {
    const location = await retrying(this.#retry, this.#signal, async () => {
      const answer = await this.client.exchange({ method: "POST", path: "blobs/uploads/", what });
      if (answer.response.statusCode !== 202) throw await this.client.refusal(answer, what);
      return dumped(answer, this.client.locationOf(answer, what));
    });
    return new BlobUpload(this, location, what);
  }

  /**
   * @returns the digest in the OCI-Subject header: the registry lists the manifest among its subject's referrers by itself
   * @throws SourceError
   */
  async putManifest(reference: string, mediaType: string, bytes: Uint8Array): Promise<string | undefined> {
    const what = `manifest ${reference}`;
    const headers = { "content-type": mediaType };
    return retrying(this.#retry, this.#signal, async () => {
      const path = `manifests/${reference}`;
      const answer = await this.client.exchange({ method: "PUT", path, headers, body: bytes, what });
      if (answer.response.statusCode !== 201) throw await this.client.refusal(answer, what);
      return dumped(answer, header(answer.response, "oci-subject"));
    });
  }

  /** For BlobUpload: attempts of one operation. */
  attempts(): Attempts {
    return new Attempts(this.#retry, this.#signal);
  }

  async #simple(request: RepositoryRequest, expected: readonly number[]): Promise<number> {
    return retrying(this.#retry, this.#signal, async () => {
      const answer = await this.client.exchange(request);
      const { statusCode } = answer.response;
      if (!expected.includes(statusCode)) throw await this.client.refusal(answer, request.what);
      return dumped(answer, statusCode);
    });
  }

  async #cancel(location: URL): Promise<void> {
    try {
      const answer = await this.client.exchange({ method: "DELETE", path: location, what: "upload" });
      await answer.response.body.dump();
    } catch {
      // It is garbage at the registry, which collects it.
    }
  }

  /** For BlobUpload: gives an upload up. */
  cancel(location: URL): Promise<void> {
    return this.#cancel(location);
  }
}

/**
 * One blob on its way up, in pieces. A piece that breaks off goes on from where the registry says it has got to.
 *
 *     0                      sent                    sent + piece
 *     │ acknowledged          │ held by the caller until `write` ends │
 */
export class BlobUpload {
  readonly #writer: RepositoryWriter;
  readonly #what: string;
  #location: URL;
  /** Bytes that the registry has acknowledged. */
  sentBytes = 0;

  /** Made by `startUpload`. */
  constructor(writer: RepositoryWriter, location: URL, what: string) {
    this.#writer = writer;
    this.#location = location;
    this.#what = what;
  }

  /** Sends the next piece. @throws UploadLost when the blob must be sent again from its start; SourceError */
  async write(piece: Uint8Array): Promise<void> {
    const start = this.sentBytes;
    const end = start + piece.length;
    const attempts = this.#writer.attempts();
    while (this.sentBytes < end) {
      const rest = piece.subarray(this.sentBytes - start);
      try {
        const headers = {
          "content-type": "application/octet-stream",
          "content-range": `${this.sentBytes}-${end - 1}`,
        };
        const answer = await this.#exchange({ method: "PATCH", path: this.#location, headers, body: rest });
        if (answer.response.statusCode === 416) throw this.#lost("the registry has other bytes");
        if (answer.response.statusCode === 404) throw this.#lost("the registry knows nothing of it");
        if (answer.response.statusCode !== 202) throw await this.#writer.client.refusal(answer, this.#what);
        this.#location = this.#writer.client.locationOf(answer, this.#what);
        await answer.response.body.dump();
        this.sentBytes = end;
      } catch (error) {
        await attempts.failed(error);
        await this.#askState(start, end);
      }
    }
  }

  /** Ends the upload: the registry compares the digest. @throws UploadLost, SourceError */
  async finish(digest: Digest): Promise<void> {
    const attempts = this.#writer.attempts();
    for (;;) {
      try {
        const url = new URL(this.#location);
        url.searchParams.set("digest", digest);
        const answer = await this.#exchange({ method: "PUT", path: url, headers: { "content-length": "0" } });
        if (answer.response.statusCode === 201) return await dumped(answer, undefined);
        if (answer.response.statusCode === 404) throw this.#lost("the registry knows nothing of it");
        throw await this.#writer.client.refusal(answer, this.#what);
      } catch (error) {
        if (!(error instanceof UploadLost)) await attempts.failed(error);
        // The answer may have been lost, not the blob.
        if (await this.#writer.hasBlob(digest)) return;
        if (error instanceof UploadLost) throw error;
      }
    }
  }

  /** Gives it up; never fails. */
  cancel(): Promise<void> {
    return this.#writer.cancel(this.#location);
  }

  /** Learns how much of the piece has arrived. A registry that says nothing of use has lost the upload. */
  async #askState(start: number, end: number): Promise<void> {
    const attempts = this.#writer.attempts();
    for (;;) {
      try {
        const answer = await this.#exchange({ method: "GET", path: this.#location });
        const { response } = answer;
        if (response.statusCode !== 204 && response.statusCode !== 200) {
          if (response.statusCode >= 500 || response.statusCode === 429)
            throw await this.#writer.client.refusal(answer, this.#what);
          await response.body.dump();
          throw this.#lost(`asked how far it is, the registry answered ${response.statusCode}`);
        }
        await response.body.dump();
        const last = Number(/^(?:bytes=)?0-(\d{1,16})$/.exec(header(response, "range") ?? "")?.[1] ?? Number.NaN);
        // Registries say 0-0 of an upload of nothing.
        const received = last === 0 ? 0 : last + 1;
        if (!(received >= start && received <= end))
          throw this.#lost(`the registry has ${received} bytes, ${start} were acknowledged`);
        if (header(response, "location") !== undefined)
          this.#location = this.#writer.client.locationOf(answer, this.#what);
        this.sentBytes = received;
        return;
      } catch (error) {
        if (error instanceof UploadLost) throw error;
        await attempts.failed(error);
      }
    }
  }

  #exchange(request: Omit<RepositoryRequest, "what">): Promise<Answer> {
    return this.#writer.client.exchange({ ...request, what: this.#what });
  }

  #lost(why: string): UploadLost {
    return new UploadLost("ERR_NETWORK", `${this.#what}: the upload is lost at byte ${this.sentBytes}: ${why}`);
  }
}

async function dumped<T>(answer: Answer, value: T): Promise<T> {
  await answer.response.body.dump();
  return value;
}
