import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";

/** What QEMU says: an answer, an error, or that something has happened. QEMU, docs/interop/qmp-spec.rst. */
interface Said {
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
  readonly event?: string;
}

/** QEMU's machine protocol. QEMU listens at `path`: `-qmp unix:PATH,server=on,wait=off`. */
export class Monitor {
  readonly #socket: Socket;
  readonly #said: Said[] = [];
  #wake: () => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    createInterface(socket).on("line", (line) => {
      this.#said.push(JSON.parse(line) as Said);
      this.#wake();
    });
    socket.on("close", () => this.#wake());
  }

  static async connect(path: string): Promise<Monitor> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    const monitor = new Monitor(socket);
    await monitor.command("qmp_capabilities");
    return monitor;
  }

  /** @throws Error when QEMU refuses */
  async command(name: string): Promise<void> {
    this.#socket.write(`${JSON.stringify({ execute: name })}\n`);
    const { error } = await this.#next((said) => said.return !== undefined || said.error !== undefined);
    if (error !== undefined) throw new Error(`QEMU: ${name}: ${error.desc}`);
  }

  /** Waits until this happens, or has happened since it was last waited for. */
  async event(name: string): Promise<void> {
    await this.#next((said) => said.event === name);
  }

  close(): void {
    this.#socket.destroy();
  }

  async #next(is: (said: Said) => boolean): Promise<Said> {
    for (;;) {
      const index = this.#said.findIndex(is);
      if (index >= 0) return this.#said.splice(index, 1)[0]!;
      if (this.#socket.destroyed) throw new Error("QEMU has closed its monitor");
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
