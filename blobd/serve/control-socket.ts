import { chmodSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { formatControlError, formatServed, MAX_CONTROL_BYTES, parseServeRequest } from "../../formats/control/index.ts";
import type { BlobService, Served } from "./blob-service.ts";

/**
 * The socket of a service. Each connection makes one request and holds what it got for as long as it stays open: a client
 * that dies holds nothing.
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
    const held: Served[] = [];
    let isOpen = true;
    const ended = new Promise<void>((resolve) => socket.once("close", () => resolve()));
    socket.on("error", () => {}); // Its end is told by `close`.
    void ended.then(() => {
      isOpen = false;
    });
    try {
      const line = await readLine(socket);
      if (line !== undefined) {
        const request = parseServeRequest(line);
        for (const { layer, isWhole } of request.blobs) {
          if (!isOpen) return;
          held.push(await this.#service.serve(request, layer, isWhole));
        }
        socket.write(formatServed(held.map(({ path, isComplete }) => ({ path, isComplete }))));
      }
      await ended;
    } catch (error) {
      const { code, message } = error as { code?: unknown; message: string };
      this.#log(`a request failed: ${message}`);
      socket.end(formatControlError(typeof code === "string" ? code : "", message));
    } finally {
      for (const served of held) served.release();
      this.#connections.delete(socket);
      if (isOpen) socket.destroySoon();
    }
  }
}

/** The first line; undefined when the connection ends before. */
async function readLine(socket: Socket): Promise<Buffer | undefined> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  return new Promise((resolve, reject) => {
    const onData = (piece: Buffer) => {
      pieces.push(piece);
      bytes += piece.length;
      if (bytes > MAX_CONTROL_BYTES) {
        socket.off("data", onData);
        return reject(new Error(`a request of more than ${MAX_CONTROL_BYTES} bytes`));
      }
      if (!piece.includes(10)) return;
      socket.off("data", onData);
      // What comes behind is nothing of ours; it is read so that the end of the connection is seen.
      socket.resume();
      const all = Buffer.concat(pieces);
      resolve(all.subarray(0, all.indexOf(10)));
    };
    socket.on("data", onData);
    socket.once("close", () => resolve(undefined));
  });
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
