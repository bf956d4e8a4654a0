/** A guest in operation: the VMM as a child process, its channels, and how it all ends. */
import { type ChildProcess, spawn } from "node:child_process";
import type { Duplex, Readable, Writable } from "node:stream";
import { VmError } from "../errors.ts";
import type { Channels } from "../vmm/index.ts";
import { ControlReader, type GuestMessage } from "./control.ts";
import { EndMark } from "./end-mark.ts";
import { Tail } from "./tail.ts";
import { Timeline } from "./timeline.ts";

/** Where the command's input comes from and its output goes. With a terminal, `stderr` gets nothing. */
export interface GuestIo {
  readonly stdin?: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
}

export interface SessionOptions {
  /** The VMM's program, and its arguments for given channels. */
  readonly vmm: string;
  readonly args: (channels: Channels) => readonly string[];
  readonly tty: boolean;
  readonly io: GuestIo;
  /** What the guest writes behind its output. */
  readonly endMark: string;
  /** The guest is ended after this time, in milliseconds. */
  readonly timeoutMs?: number;
}

export interface GuestOutcome {
  /** The command's exit status; 128 + n when signal n ended it; 124 when the time was over, as timeout(1) has it. */
  readonly status: number;
  readonly timeline: Timeline;
}

const TIMEOUT_STATUS = 124;
/** 128 + SIGPIPE */
const SIGPIPE_STATUS = 141;
/** The same signal this often ends the guest whatever its command makes of it. */
const PATIENCE = 3;
/** Descriptors of the VMM. */
const FD = { log: 3, control: 4, output: 5, errors: 6, input: 7 } as const;
/** How long after the VMM's end its channels may take to hand over what is left, in milliseconds. */
const LEFTOVER_MS = 500;
/** Kept of the kernel's messages and of the VMM's, in bytes: what is shown when something went wrong. */
const TAIL_BYTES = 4096;

/** A running guest. Start it, then await `outcome`. */
export class GuestSession {
  /** @throws VmError ERR_NO_VMM when the VMM cannot be started, ERR_GUEST when the guest ends without a status. */
  readonly outcome: Promise<GuestOutcome>;
  /** Settled when the guest's process 1 runs (the VMM has opened all files then), or the guest has ended. */
  readonly booted: Promise<void>;
  readonly timeline = new Timeline();
  #booted: () => void = () => {};
  readonly #child: ChildProcess;
  readonly #log = new Tail(TAIL_BYTES);
  readonly #errors = new Tail(TAIL_BYTES);
  readonly #marks: EndMark[] = [];
  readonly #signals = new Map<number, number>();
  #status: number | undefined;
  #failure: string | undefined;

  constructor(options: SessionOptions) {
    const { io, tty } = options;
    const pipe = "pipe" as const;
    const stdio = ["ignore" as const, "ignore" as const, pipe, pipe, pipe, pipe, pipe, pipe];
    const channels = { log: FD.log, control: FD.control, command: commandChannels(tty, io.stdin !== undefined) };
    // A session of its own: what the terminal sends to its foreground processes is for the guest's command to get.
    this.#child = spawn(options.vmm, options.args(channels), { stdio, detached: true });
    this.booted = new Promise((resolve) => {
      this.#booted = resolve;
    });
    this.outcome = this.#ended(options).finally(() => this.#booted());
    this.#on(2, (chunk) => {
      this.#errors.push(chunk);
      // QEMU would wait for somebody to look into it.
      if (chunk.includes("KVM internal error")) this.#kill();
    });
    this.#on(FD.log, (chunk) => this.#log.push(chunk));
    const control = new ControlReader();
    this.#on(FD.control, (chunk) => {
      for (const message of control.push(chunk)) this.#hear(message);
    });
    this.#passOn(FD.output, io.stdout, options.endMark);
    if (tty) io.stdin?.pipe(this.#channel(FD.output));
    else {
      this.#passOn(FD.errors, io.stderr, options.endMark);
      io.stdin?.pipe(this.#channel(FD.input));
    }
  }

  /** The VMM's process id; undefined when it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Passes a signal to the command; before there is one, or when it is sent again and again, it ends the guest. */
  forward(signal: number): void {
    const times = (this.#signals.get(signal) ?? 0) + 1;
    this.#signals.set(signal, times);
    if (this.timeline.mountedMs !== undefined && times < PATIENCE) this.#say(`signal ${signal}`);
    else this.#end(128 + signal);
  }

  /** Tells the size of the terminal. */
  resize(rows: number, columns: number): void {
    this.#say(`size ${rows} ${columns}`);
  }

  #hear(message: GuestMessage): void {
    switch (message.kind) {
      case "init":
        this.timeline.initAt(message.kernelSeconds);
        this.#booted();
        break;
      case "mounted":
        this.timeline.mountedNow();
        break;
      case "exit":
        this.timeline.exitNow();
        this.#status ??= message.status;
        this.#endWhenComplete();
        break;
      case "failed":
        this.#failure ??= message.text;
        this.#kill();
    }
  }

  /** Hands a channel's bytes on, no faster than they are taken, until its end mark. */
  #passOn(fd: number, out: Writable, endMark: string): void {
    const mark = new EndMark(endMark);
    const channel = this.#channel(fd);
    this.#marks.push(mark);
    out.on("error", () => this.#end(SIGPIPE_STATUS)); // Nobody reads any more.
    this.#on(fd, (chunk) => {
      this.timeline.outputNow();
      const bytes = mark.push(chunk);
      if (bytes.length > 0 && !out.write(bytes)) {
        channel.pause();
        out.once("drain", () => channel.resume());
      }
      this.#endWhenComplete();
    });
    channel.once("end", () => out.write(mark.rest()));
  }

  #endWhenComplete(): void {
    if (this.#status !== undefined && this.#marks.every(({ seen }) => seen)) this.#kill();
  }

  #end(status: number): void {
    this.#status ??= status;
    this.#kill();
  }

  /** Nothing in the guest is worth a shutdown: the image cannot be written, the rest is thrown away. */
  #kill(): void {
    this.#child.kill("SIGKILL");
  }

  #say(line: string): void {
    const channel = this.#channel(FD.control);
    if (!channel.destroyed) channel.write(`${line}\n`);
  }

  async #ended({ vmm, timeoutMs }: SessionOptions): Promise<GuestOutcome> {
    const timer = timeoutMs === undefined ? undefined : setTimeout(() => this.#end(TIMEOUT_STATUS), timeoutMs);
    try {
      await new Promise<void>((resolve, reject) => {
        this.#child.once("error", (error) => {
          reject(new VmError("ERR_NO_VMM", `the VMM ${vmm} cannot be started: ${error.message}`, error));
        });
        this.#child.once("close", () => resolve());
        // A channel that nobody empties is not waited for.
        this.#child.once("exit", () => setTimeout(resolve, LEFTOVER_MS));
      });
    } finally {
      clearTimeout(timer);
    }
    if (this.#failure !== undefined)
      throw new VmError("ERR_GUEST", `the guest could not start the image: ${this.#failure}${this.#lastWords()}`);
    if (this.#status === undefined)
      throw new VmError("ERR_GUEST", `the guest ended without an exit status${this.#lastWords()}`);
    return { status: this.#status, timeline: this.timeline };
  }

  #lastWords(): string {
    const said = [
      ["the VMM said", this.#errors.text()],
      ["the kernel said", this.#log.text()],
    ].filter(([, text]) => text !== "");
    return said.map(([who, text]) => `\n${who}:\n${text}`).join("");
  }

  #channel(fd: number): Duplex {
    return this.#child.stdio[fd] as unknown as Duplex;
  }

  #on(fd: number, listener: (chunk: Buffer) => void): void {
    const channel = this.#channel(fd);
    channel.on("data", listener);
    channel.on("error", () => {}); // The other end is the VMM; its end is what counts.
  }
}

function commandChannels(tty: boolean, input: boolean): Channels["command"] {
  if (tty) return { kind: "tty", tty: FD.output };
  return { kind: "pipes", output: FD.output, errors: FD.errors, ...(input && { input: FD.input }) };
}
