import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Socket } from "node:net";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { SourceError } from "../../formats/oci/index.ts";
import { tryConnect } from "../control/index.ts";

/** This file is dist/blobd/lease/daemon.js when it runs. */
const BLOBD = fileURLToPath(new URL("../cli/main.js", import.meta.url));
/** How long a daemon that we start may take to be there, in ms. */
const START_MS = 20_000;
/** A daemon that we start ends when nobody has used it for so long, in seconds: `$EROFSIFY_SERVE_IDLE`, or a minute. */
const IDLE_SECONDS = process.env.EROFSIFY_SERVE_IDLE ?? "60";

/**
 * Starts a daemon, and another one when there was one that was just about to end.
 * @throws SourceError with the daemon's words
 */
export async function startAndConnect(storeRoot: string, socketPath: string): Promise<Socket> {
  let daemon = new Daemon(storeRoot);
  for (const deadline = performance.now() + START_MS; performance.now() < deadline; ) {
    const socket = await tryConnect(socketPath);
    if (socket !== undefined) {
      daemon.leave();
      return socket;
    }
    if (daemon.hasEnded) {
      if (!daemon.said.includes("another blobd serves")) break;
      daemon = new Daemon(storeRoot);
    }
    await sleep(20);
  }
  const silent = daemon.hasEnded ? "it has ended without a word" : "it was not there in time";
  throw new SourceError("ERR_IO", `blobd serve could not be started for ${storeRoot}: ${daemon.said.trim() || silent}`);
}

/** A `blobd serve` that we start. It lives on without us: other guests use it. */
class Daemon {
  readonly #child: ChildProcessByStdio<null, null, Readable>;
  /** The end of what it has written to stderr. */
  said = "";
  hasEnded = false;

  constructor(storeRoot: string) {
    this.#child = spawn(
      process.execPath,
      [BLOBD, "serve", "--store", storeRoot, "--idle", IDLE_SECONDS, "--log-level", "error"],
      {
        detached: true,
        stdio: ["ignore", "ignore", "pipe"],
        // Each chunk in hand takes up to three threads of libuv's pool.
        env: { ...process.env, UV_THREADPOOL_SIZE: "16" },
      },
    );
    this.#child.once("error", ({ message }) => {
      this.said = message;
      this.hasEnded = true;
    });
    // There is none when the process has no descriptors left for it.
    this.#child.stderr?.on("data", (piece: Buffer) => {
      this.said = (this.said + piece.toString()).slice(-2000);
    });
    this.#child.once("close", () => {
      this.hasEnded = true;
    });
  }

  leave(): void {
    this.#child.unref();
    this.#child.stderr?.destroy();
  }
}
