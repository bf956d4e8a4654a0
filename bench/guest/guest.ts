/** A guest with a shell that the benchmark talks to. */
import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { PassThrough } from "node:stream";
import { openImage } from "../../builder/image/index.ts";
import {
  defaultCacheDir,
  findAccelerator,
  findQemu,
  type GuestOutcome,
  GuestSession,
  makeGuestFolder,
  planGuest,
  qemuArgs,
  type Requirement,
} from "../../builder/vm/index.ts";

export interface GuestWishes {
  readonly storeRoot: string;
  /** The image that is the guest's root. */
  readonly image: string;
  readonly memoryBytes: number;
  readonly cpus: number;
  /** QEMU's options for devices besides. */
  readonly devices: readonly string[];
  /** What the kernel needs for them. */
  readonly needs: readonly Requirement[];
  /** The guest is ended after this, in ms. */
  readonly timeoutMs: number;
  readonly env: NodeJS.ProcessEnv;
}

/** Ends the output of each command, followed by its status. */
const END = /(?:^|\n)=== (\d+)\n$/;
/** Reads commands, and does one after the other. */
const SHELL = 'while read -r line; do eval "$line"; echo "=== $?"; done';

/** A running guest. */
export class BenchGuest {
  readonly pid: number;
  readonly accelerator: string;
  readonly #session: GuestSession;
  readonly #input: PassThrough;
  readonly #output: PassThrough;
  readonly #errors: PassThrough;

  private constructor(
    session: GuestSession,
    accelerator: string,
    io: Record<"stdin" | "stdout" | "stderr", PassThrough>,
  ) {
    this.#session = session;
    this.accelerator = accelerator;
    this.pid = session.pid!;
    this.#input = io.stdin;
    this.#output = io.stdout;
    this.#errors = io.stderr;
  }

  /** Boots a guest as `erofsify run --read-only` does, with devices besides. All its memory can be shared with vhost-user devices. */
  static async boot(wishes: GuestWishes): Promise<BenchGuest> {
    const { memoryBytes, cpus, devices, needs, env } = wishes;
    const cacheDir = defaultCacheDir(env);
    const folder = makeGuestFolder(cacheDir);
    const image = await openImage(wishes.image, { storeRoot: wishes.storeRoot });
    try {
      const endMark = randomBytes(16).toString("hex");
      const plan = await planGuest(
        image,
        {
          vmm: "qemu",
          attachment: { kind: "channels", input: true, endMark },
          args: ["sh", "-c", SHELL],
          memoryBytes,
          cpus,
          readOnly: true,
          also: needs,
          ...(env.EROFSIFY_KERNEL && { kernel: env.EROFSIFY_KERNEL }),
        },
        { folder, cacheDir },
      );
      const qemu = findQemu(undefined, env);
      const accelerator = await findAccelerator(qemu, plan.kernelPath, cacheDir);
      const io = { stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() };
      const session = new GuestSession({
        vmm: qemu,
        args: (channels) => [
          ...qemuArgs({ ...plan, console: { kind: "channels", ...channels } }, accelerator),
          ...["-object", `memory-backend-memfd,id=ram,size=${memoryBytes},share=on`, "-machine", "memory-backend=ram"],
          ...devices,
        ],
        tty: false,
        io,
        endMark,
        timeoutMs: wishes.timeoutMs,
      });
      const guest = new BenchGuest(session, accelerator, io);
      await guest.shell("true");
      return guest;
    } finally {
      image.close();
      rmSync(folder, { recursive: true, force: true });
    }
  }

  /**
   * Runs a line of shell in the guest and returns what it wrote to stdout.
   * @throws Error when it ends with another status than 0, or the guest ends
   */
  async shell(line: string): Promise<string> {
    let output = "";
    const answered = new Promise<string>((resolve, reject) => {
      const hear = (chunk: Buffer) => {
        output += chunk.toString();
        const [whole, status] = END.exec(output) ?? [];
        if (whole === undefined) return;
        this.#output.off("data", hear);
        if (status === "0") resolve(output.slice(0, -whole.length));
        else reject(new Error(`in the guest, "${line}" ended with status ${status}: ${this.#complaints()}`));
      };
      this.#output.on("data", hear);
    });
    this.#input.write(`${line}\n`);
    const ended = this.#session.outcome.then(({ status }: GuestOutcome) => {
      throw new Error(`the guest ended with status ${status} during "${line}": ${output}${this.#complaints()}`);
    });
    return Promise.race([answered, ended]);
  }

  /** Ends the guest. */
  async end(): Promise<void> {
    this.#input.end();
    await this.#session.outcome;
  }

  #complaints(): string {
    return String(this.#errors.read() ?? "");
  }
}
