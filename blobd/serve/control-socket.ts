import { chmodSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import {
  type FetchedCounts,
  formatControlError,
  formatCounts,
  formatServed,
  MAX_CONTROL_BYTES,
  parseControlRequest,
  type ServedBlob,
} from "../../formats/control/index.ts";
import type { BlobService, Served } from "./blob-service.ts";

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
    const held: Served[] = [];
    try {
      for await (const line of linesOf(socket)) socket.write(await this.#answer(line, socket, held));
    } catch (error) {
      this.#log(`a connection broke: ${(error as Error).message}`);
    } finally {
      for (const served of held) served.release();
      this.#connections.delete(socket);
      socket.destroySoon();
    }
  }

  /** The answer to one request; what it got is added to `held`. */
  async #answer(line: Buffer, socket: Socket, held: Served[]): Promise<string> {
    try {
      const request = parseControlRequest(line);
      if (request === "counts") return formatCounts(sumOf(held));
      const blobs: ServedBlob[] = [];
      for (const { layer, isWhole } of request.blobs) {
        if (socket.destroyed) break;
        const served = await this.#service.serve(request, layer, isWhole);
        held.push(served);
        blobs.push({ path: served.path, isComplete: served.isComplete });
      }
      return formatServed(blobs);
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

/** The lines that come, until the connection ends. @throws Error for a line that is too long */
async function* linesOf(socket: Socket): AsyncGenerator<Buffer, void, undefined> {
  let rest = Buffer.alloc(0);
  for await (const piece of socket as AsyncIterable<Buffer>) {
    rest = Buffer.concat([rest, piece]);
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      yield rest.subarray(0, end);
      rest = rest.subarray(end + 1);
    }
    if (rest.length > MAX_CONTROL_BYTES) throw new Error(`a request of more than ${MAX_CONTROL_BYTES} bytes`);
  }
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
