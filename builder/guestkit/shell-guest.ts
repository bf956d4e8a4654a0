import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { PassThrough } from "node:stream";
import { type OpenedImage, openImage } from "../open/index.ts";
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
} from "../vm/index.ts";
import { type GuestMemory, parseMeminfo } from "./memory.ts";

export interface GuestWishes {
  readonly storeRoot: string;
  /**
   * The image that is the guest's root, read-only; one that is opened is closed when the guest runs. It has `sh` and `cat`, and for
   * put() `base64` and `chmod`.
   */
  readonly image: string | OpenedImage;
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

/** A guest that is not there by then is stuck, and is ended; its kernel's last words are in the error. */
const BOOT_TIMEOUT_MS = 90_000;

/** A command in the guest that ended with another status than 0. */
export class GuestCommandError extends Error {
  override readonly name = "GuestCommandError";
  readonly status: number;

  constructor(script: string, status: number, stdout: string, stderr: string) {
    super(
      `in the guest, ${JSON.stringify(script)} ended with status ${status}: ${stderr.trim() || stdout.trim().slice(-2000)}`,
    );
    this.status = status;
  }
}

/**
 * Reads scripts, each up to a line that is the mark, and does one after the other. Mark and status close what a script wrote, on
 * both outputs. Nothing but the shell's own commands, because starting a program takes 25 ms under emulation.
 */
const shellLoop = (mark: string) => `script=
while IFS= read -r line; do
  if [ "$line" != ${mark} ]; then script="$script$line
"; continue; fi
  eval "$script" </dev/null
  status=$?
  echo "${mark} $status"
  echo "${mark} $status" >&2
  script=
done`;

/** What a script wrote to one of its outputs, and with which status it ended. */
interface Written {
  readonly text: string;
  readonly status: number;
}

/** A running guest with a shell. All its memory can be shared with vhost-user devices. */
export class ShellGuest {
  /** QEMU's process. */
  readonly pid: number;
  readonly accelerator: string;
  readonly #session: GuestSession;
  readonly #mark: string;
  readonly #input: PassThrough;
  readonly #output: PassThrough;
  readonly #errors: PassThrough;

  private constructor(
    session: GuestSession,
    accelerator: string,
    mark: string,
    io: Record<"stdin" | "stdout" | "stderr", PassThrough>,
  ) {
    this.#session = session;
    this.accelerator = accelerator;
    this.pid = session.pid!;
    this.#mark = mark;
    this.#input = io.stdin;
    this.#output = io.stdout;
    this.#errors = io.stderr;
  }

  /** Boots a guest as `erofsify run --read-only` does, with devices besides. */
  static async boot(wishes: GuestWishes): Promise<ShellGuest> {
    const { memoryBytes, cpus, devices, needs, env } = wishes;
    const cacheDir = defaultCacheDir(env);
    const folder = makeGuestFolder(cacheDir);
    const { image: wished, storeRoot } = wishes;
    const image = typeof wished === "string" ? await openImage(wished, { storeRoot }) : wished;
    try {
      const [endMark, mark] = [randomBytes(16).toString("hex"), randomBytes(16).toString("hex")];
      const plan = await planGuest(
        image,
        {
          vmm: "qemu",
          attachment: { kind: "channels", input: true, endMark },
          args: ["sh", "-c", shellLoop(mark)],
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
      const guest = new ShellGuest(session, accelerator, mark, io);
      const timer = setTimeout(() => process.kill(guest.pid, "SIGKILL"), BOOT_TIMEOUT_MS);
      await guest.shell("true").finally(() => clearTimeout(timer));
      return guest;
    } finally {
      image.close();
      rmSync(folder, { recursive: true, force: true });
    }
  }

  /**
   * Runs a script in the guest's shell, with empty standard input, and returns what it wrote to standard output. What it
   * sets, later scripts see.
   * @throws GuestCommandError when its last command fails; Error when the guest ends
   */
  async shell(script: string): Promise<string> {
    const answered = Promise.all([this.#upToMark(this.#output), this.#upToMark(this.#errors)]);
    this.#input.write(`${script}\n${this.#mark}\n`);
    const ended = this.#session.outcome.then(({ status }: GuestOutcome) => {
      throw new Error(`the guest ended with status ${status} during ${JSON.stringify(script)}`);
    });
    const [output, errors] = await Promise.race([answered, ended]);
    if (output.status !== 0) throw new GuestCommandError(script, output.status, output.text, errors.text);
    return output.text;
  }

  /** Writes a file that can be executed into the guest. */
  async put(path: string, bytes: Uint8Array): Promise<void> {
    const lines = Buffer.from(bytes)
      .toString("base64")
      .replace(/.{1,1000}/g, "$&\n");
    await this.shell(`base64 -d >${path} <<'END OF FILE'\n${lines}END OF FILE\nchmod 755 ${path}`);
  }

  /** The guest's memory as it is now. */
  async memory(): Promise<GuestMemory> {
    return parseMeminfo(await this.shell("cat /proc/meminfo"));
  }

  /** Writes back and gives up what the guest's kernel has cached. */
  async dropCaches(): Promise<void> {
    await this.shell("sync; echo 3 >/proc/sys/vm/drop_caches");
  }

  /** Ends the guest. */
  async end(): Promise<void> {
    this.#input.end();
    await this.#session.outcome;
  }

  /** Takes what a script writes to `stream`, up to the mark behind it. */
  #upToMark(stream: PassThrough): Promise<Written> {
    const pieces: Buffer[] = [];
    const mark = new RegExp(`${this.#mark} (\\d+)\n$`);
    let end = "";
    return new Promise((resolve) => {
      const hear = (chunk: Buffer) => {
        pieces.push(chunk);
        end = (end + chunk.subarray(-MARK_LINE_BYTES).toString("latin1")).slice(-MARK_LINE_BYTES);
        const [line, status] = mark.exec(end) ?? [];
        if (line === undefined) return;
        stream.off("data", hear);
        const all = Buffer.concat(pieces);
        resolve({ text: all.subarray(0, all.length - line.length).toString(), status: Number(status) });
      };
      stream.on("data", hear);
    });
  }
}

/** Longest line with a mark: 32 digits, a space, a status, the end of the line. */
const MARK_LINE_BYTES = 40;
