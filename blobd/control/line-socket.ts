import { chmodSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { formatControlError, MAX_CONTROL_BYTES } from "../../formats/control/index.ts";
import { tryConnect } from "./connect.ts";
import { linesOf } from "./lines.ts";

/** What a server does for one client. */
export interface Attendant {
  /**
   * Answers one line with one line.
   * @throws any error, which is the answer then
   */
  answer(line: Buffer, client: Socket): Promise<string>;
  /** The client has gone, however. */
  end(): void;
}

/** A Unix socket on which clients ask by lines of JSON and are answered in order. Only the owner's processes may connect. */
export class LineSocket {
  readonly #server: Server;
  readonly #attend: () => Attendant;
  readonly #log: (line: string) => void;
  readonly #clients = new Set<Socket>();

  /**
   * @param path a socket that is there, and that nobody answers at, is replaced
   * @param isOurs so is one that somebody seems to answer at
   * @throws Error when another server answers there
   */
  static async listen(
    path: string,
    attend: () => Attendant,
    log: (line: string) => void,
    isOurs = false,
  ): Promise<LineSocket> {
    const other = isOurs ? undefined : await tryConnect(path);
    other?.destroy();
    if (other !== undefined) throw new Error(`${path}: another blobd serves there`);
    rmSync(path, { force: true });
    const socket = new LineSocket(attend, log);
    // Between two lines nobody else may connect: the folder is the owner's.
    await new Promise<void>((resolve, reject) => {
      socket.#server.once("error", reject).listen(path, resolve);
    });
    chmodSync(path, 0o600);
    return socket;
  }

  private constructor(attend: () => Attendant, log: (line: string) => void) {
    this.#attend = attend;
    this.#log = log;
    this.#server = createServer((client) => void this.#serve(client));
  }

  /** How many clients are connected. */
  get clients(): number {
    return this.#clients.size;
  }

  close(): void {
    this.#server.close();
    for (const client of this.#clients) client.destroy();
  }

  async #serve(client: Socket): Promise<void> {
    this.#clients.add(client);
    client.on("error", () => {}); // Its end is told by the lines' end.
    const attendant = this.#attend();
    try {
      for await (const line of linesOf(client, MAX_CONTROL_BYTES))
        client.write(await this.#answer(attendant, line, client));
    } catch (error) {
      this.#log(`a connection broke: ${(error as Error).message}`);
    } finally {
      attendant.end();
      this.#clients.delete(client);
      client.destroySoon();
    }
  }

  async #answer(attendant: Attendant, line: Buffer, client: Socket): Promise<string> {
    try {
      return await attendant.answer(line, client);
    } catch (error) {
      const { code, message } = error as { code?: unknown; message: string };
      this.#log(`a request failed: ${message}`);
      return formatControlError(typeof code === "string" ? code : "", message);
    }
  }
}
