/** Test equipment: `blobd virtiofs` as a process, and a VMM with a guest that speaks FUSE to it over its queues. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { InHeader, InitIn, Opcode, OutHeader } from "../../formats/fuse/index.ts";
import { IN_ARGS, OUT_ARGS } from "../fuse/index.ts";
import { type Call, fill } from "../fuse/testing/index.ts";
import { connectUnix } from "../sys/index.ts";
import { FrontEnd } from "../vhost/testing-front-end.ts";
import { DriverQueue, type Piece } from "../vhost/testing-guest.ts";

// This file is dist/blobd/virtiofs/testing-guest.js when it runs.
const BLOBD = fileURLToPath(new URL("../cli/main.js", import.meta.url));
const QUEUE_SIZE = 64;
/** Room of each request in guest memory, for what is asked and for what is answered, in bytes. */
const SLOT_BYTES = 80 << 10;
const SLOTS = 24;
/** Longer than a test waits for anything. */
const ANSWER_WITHIN_MS = 40_000;

/** A running `blobd virtiofs`. */
export class BlobdVirtiofs {
  readonly socketPath: string;
  readonly #child: ChildProcess;
  /** What it logged. */
  log = "";

  private constructor(child: ChildProcess, socketPath: string) {
    this.#child = child;
    this.socketPath = socketPath;
    child.stderr!.on("data", (text) => {
      this.log += text;
    });
  }

  static start(sharedDir: string, socketPath: string, options: readonly string[]): Promise<BlobdVirtiofs> {
    return BlobdVirtiofs.serve(socketPath, ["--shared-dir", sharedDir, ...options]);
  }

  /** @param options with what is served among them */
  static async serve(socketPath: string, options: readonly string[]): Promise<BlobdVirtiofs> {
    const args = ["virtiofs", "--socket-path", socketPath, "--tag", "test", ...options];
    const child = spawn(process.execPath, ["--enable-source-maps", BLOBD, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const blobd = new BlobdVirtiofs(child, socketPath);
    const [said] = await Promise.race([once(child.stdout!, "data"), once(child, "exit")]);
    if (!/listening/.test(String(said))) throw new Error(`blobd did not start: ${blobd.log}`);
    return blobd;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Processes below it. */
  children(): number[] {
    const path = `/proc/${this.pid}/task/${this.pid}/children`;
    return existsSync(path) ? readFileSync(path, "utf8").split(" ").filter(Boolean).map(Number) : [];
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill("SIGTERM");
    await once(this.#child, "exit");
  }
}

export interface Answer {
  readonly error: number;
  readonly body: Buffer;
}

/** A guest's driver with one queue for requests and one for those of high priority. */
export class TestGuest {
  readonly frontEnd: FrontEnd;
  readonly #queues: DriverQueue[] = [];
  readonly #free: number[] = [];
  readonly #waiting = new Map<number, { slot: number; done: (answer: Answer) => void }>();
  readonly #slots: { readonly in: number; readonly out: number }[] = [];
  #serving: Promise<void> | undefined;
  #unique = 2n;
  #pump: Promise<void> | null = null;

  private constructor(frontEnd: FrontEnd) {
    this.frontEnd = frontEnd;
  }

  static async connect(socketPath: string, windowBytes: number): Promise<TestGuest> {
    const guest = new TestGuest(new FrontEnd(connectUnix(socketPath)));
    const { frontEnd } = guest;
    await frontEnd.start({ windowBytes });
    guest.#serving = frontEnd.channel?.serve();
    for (let index = 0; index < 2; index++) {
      const queue = new DriverQueue(frontEnd.ram, QUEUE_SIZE);
      guest.#queues.push(queue);
      await frontEnd.startQueue(index, queue);
    }
    for (let slot = 0; slot < SLOTS; slot++) {
      guest.#slots.push({ in: frontEnd.ram.allocate(SLOT_BYTES), out: frontEnd.ram.allocate(SLOT_BYTES) });
      guest.#free.push(slot);
    }
    return guest;
  }

  async init(): Promise<void> {
    const args = fill(InitIn, { major: 7, minor: 45, maxReadahead: 1 << 20, flags: 0xffffffff, flags2: 0xffffffff });
    const { error } = await this.call(Opcode.INIT, { args });
    if (error !== 0) throw new Error(`INIT: error ${error}`);
  }

  /** Sends a request, with data that lie elsewhere, and waits for its answer. Several may be under way. */
  async call(opcode: number, call: Call & { readonly pieces?: readonly Piece[] }): Promise<Answer> {
    const slot = this.#free.pop();
    if (slot === undefined) throw new Error("all slots are in use");
    const names = (call.names ?? []).flatMap((name) => [Buffer.from(name as string), Buffer.from([0])]);
    const message = Buffer.concat([
      Buffer.alloc(IN_ARGS),
      ...[call.args ?? [], ...names, call.rest ?? [], call.data ?? []].map(Buffer.from),
    ]);
    const elsewhere = (call.pieces ?? []).reduce((sum, { bytes }) => sum + bytes, 0);
    Object.assign(InHeader.view(message), {
      len: message.length + elsewhere,
      opcode,
      unique: this.#unique,
      nodeid: call.nodeId ?? 1,
    });
    this.#unique += 2n;
    const { in: at, out } = this.#slots[slot]!;
    const { ram } = this.frontEnd;
    ram.bytes.set(message, at);
    const queue = this.#queues[1]!;
    const head = queue.add([
      { address: at, bytes: message.length },
      ...(call.pieces ?? []),
      { address: out, bytes: OUT_ARGS + (call.limit ?? 4096), writable: true },
    ]);
    const answer = new Promise<Answer>((done) => this.#waiting.set(head, { slot, done }));
    queue.kick();
    this.#pump ??= this.#take();
    return answer;
  }

  async close(): Promise<void> {
    this.frontEnd.close();
    await this.#serving;
    // A test that failed over an answer still looks for it in there.
    if (this.#waiting.size > 0) return;
    for (const queue of this.#queues) queue.close();
    this.frontEnd.ram.close();
  }

  /** Takes answers as long as any is owed. */
  async #take(): Promise<void> {
    const queue = this.#queues[1]!;
    while (this.#waiting.size > 0) {
      const { head, bytes } = await queue.next(ANSWER_WITHIN_MS);
      const { slot, done } = this.#waiting.get(head)!;
      this.#waiting.delete(head);
      const { out } = this.#slots[slot]!;
      const reply = Buffer.from(this.frontEnd.ram.bytes.subarray(out, out + bytes));
      this.#free.push(slot);
      done({ error: OutHeader.view(reply).error, body: reply.subarray(OUT_ARGS) });
    }
    this.#pump = null;
  }
}
