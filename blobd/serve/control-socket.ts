import { chmodSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import {
  type FetchedCounts,
  formatControlError,
  formatCounts,
  formatRecording,
  formatServed,
  formatTrace,
  MAX_CONTROL_BYTES,
  parseControlRequest,
  type ServedBlob,
} from "../../formats/control/index.ts";
import type { BlobService } from "./blob-service.ts";
import { linesOf } from "./lines.ts";
import { Recording } from "./recording.ts";
import type { Served } from "./served.ts";

/** What one client has. */
interface Client {
  readonly held: Served[];
  /** Of its own blobs, or of everybody's, once it has asked for that. */
  readonly recording: Recording;
}

/**
 * The socket of a service. Each connection asks for blobs and holds what it got for as long as it stays open: a client that
 * dies holds nothing.
 */
export class ControlSocket {
  readonly #server: Server;
  readonly #service: BlobService;
  readonly #log: (line: string) => void;
  readonly #connections = new Set<Socket>();

  /**
   * @param path a socket that is there, and that nobody answers at, is replaced
   * @throws Error when another service answers there
   */
  static async listen(path: string, service: BlobService, log: (line: string) => void): Promise<ControlSocket> {
    if (await isAnswered(path)) throw new Error(`${path}: another blobd serves there`);
    rmSync(path, { force: true });
    const control = new ControlSocket(service, log);
    // Between two lines nobody else may connect: the folder is the owner's.
    await new Promise<void>((resolve, reject) => {
      control.#server.once("error", reject).listen(path, resolve);
    });
    chmodSync(path, 0o600);
    return control;
  }

  private constructor(service: BlobService, log: (line: string) => void) {
    this.#service = service;
    this.#log = log;
    this.#server = createServer((socket) => void this.#attend(socket));
  }

  /** How many clients hold something. */
  get clients(): number {
    return this.#connections.size;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#connections) socket.destroy();
  }

  async #attend(socket: Socket): Promise<void> {
    this.#connections.add(socket);
    socket.on("error", () => {}); // Its end is told by the lines' end.
    const client = { held: [], recording: new Recording() };
    try {
      for await (const line of linesOf(socket, MAX_CONTROL_BYTES))
        socket.write(await this.#answer(line, socket, client));
    } catch (error) {
      this.#log(`a connection broke: ${(error as Error).message}`);
    } finally {
      this.#release(client);
      this.#connections.delete(socket);
      socket.destroySoon();
    }
  }

  #release({ held, recording }: Client): void {
    for (const served of held) served.release();
    this.#service.endRecording(recording);
  }

  /** The answer to one request; what it got is added to the client's. */
  async #answer(line: Buffer, socket: Socket, { held, recording }: Client): Promise<string> {
    try {
      const request = parseControlRequest(line);
      if (request === "counts") return formatCounts(sumOf(held));
      if (request === "trace") return formatTrace(recording.list());
      if (request === "record") {
        this.#service.startRecording(recording);
        return formatRecording();
      }
      const given: Served[] = [];
      for (const { layer, isWhole } of request.blobs) {
        if (socket.destroyed) break;
        const own = request.isRecorded ? recording : undefined;
        const served = await this.#service.serve(request, layer, isWhole, own);
        held.push(served);
        given.push(served);
      }
      for (const { blob, offset, bytes } of request.prefetch ?? []) given[blob]?.prefetch(offset, bytes);
      return formatServed(given.map(({ path, isComplete }): ServedBlob => ({ path, isComplete })));
    } catch (error) {
      const { code, message } = error as { code?: unknown; message: string };
      this.#log(`a request failed: ${message}`);
      return formatControlError(typeof code === "string" ? code : "", message);
    }
  }
}

function sumOf(held: readonly Served[]): FetchedCounts {
  const counts = held.map((served) => served.fetched());
  return {
    chunks: counts.reduce((sum, { chunks }) => sum + chunks, 0),
    storedBytes: counts.reduce((sum, { storedBytes }) => sum + storedBytes, 0),
  };
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
