import type { Socket } from "node:net";
import {
  type FetchedCounts,
  formatCounts,
  formatRecording,
  formatServed,
  formatTrace,
  parseControlRequest,
  type ServedBlob,
} from "../../formats/control/index.ts";
import type { Attendant } from "../control/index.ts";
import type { BlobService } from "./blob-service.ts";
import { Recording } from "./recording.ts";
import type { Served } from "./served.ts";

/**
 * A client of a service. Its connection asks for blobs and holds what it got for as long as it stays open: a client that dies
 * holds nothing.
 */
export class Client implements Attendant {
  readonly #service: BlobService;
  readonly #held: Served[] = [];
  /** Of its own blobs, or of everybody's, once it has asked for that. */
  readonly #recording = new Recording();

  constructor(service: BlobService) {
    this.#service = service;
  }

  async answer(line: Buffer, socket: Socket): Promise<string> {
    const request = parseControlRequest(line);
    if (request === "counts") return formatCounts(sumOf(this.#held));
    if (request === "trace") return formatTrace(this.#recording.list());
    if (request === "record") {
      this.#service.startRecording(this.#recording);
      return formatRecording();
    }
    const given: Served[] = [];
    for (const { layer, isWhole } of request.blobs) {
      if (socket.destroyed) break;
      const own = request.isRecorded ? this.#recording : undefined;
      const served = await this.#service.serve(request, layer, isWhole, own);
      this.#held.push(served);
      given.push(served);
    }
    for (const { blob, offset, bytes } of request.prefetch ?? []) given[blob]?.prefetch(offset, bytes);
    return formatServed(given.map(({ path, isComplete }): ServedBlob => ({ path, isComplete })));
  }

  end(): void {
    for (const served of this.#held) served.release();
    this.#service.endRecording(this.#recording);
  }
}

function sumOf(held: readonly Served[]): FetchedCounts {
  const counts = held.map((served) => served.fetched());
  return {
    chunks: counts.reduce((sum, { chunks }) => sum + chunks, 0),
    storedBytes: counts.reduce((sum, { storedBytes }) => sum + storedBytes, 0),
  };
}
