/** Long output to stdout: in large pieces, as fast as the reader takes it, quietly ended when the reader goes away. */
const PIECE_CHARS = 1 << 16;

/** Streams whose reader went away. */
const left = new Set<NodeJS.WriteStream>();

/**
 * Makes a reader of our output that goes away (`erofsify dump | head`) a reason to write no more, not an error. Call it
 * once, before any output.
 */
export function endQuietly(): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
      left.add(stream);
    });
}

/** Writes bytes to stdout and waits while it is full. @returns false when nobody reads any more (EPIPE). */
export async function writeOut(bytes: Uint8Array | string): Promise<boolean> {
  const { stdout } = process;
  if (!left.has(stdout) && !stdout.write(bytes)) await drained(stdout);
  return !left.has(stdout);
}

function drained(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    const events = ["drain", "error", "close"];
    const done = () => {
      for (const event of events) stream.off(event, done);
      resolve();
    };
    for (const event of events) stream.on(event, done);
  });
}

/** Writes lines to stdout, each with its line end. */
export async function writeLines(lines: Iterable<string>): Promise<void> {
  let piece = "";
  for (const line of lines) {
    piece += `${line}\n`;
    if (piece.length >= PIECE_CHARS) {
      if (!(await writeOut(piece))) return;
      piece = "";
    }
  }
  await writeOut(piece);
}

/** A table with its columns lined up, two spaces apart; numbers (as text) to the right. */
export function* table(rows: readonly (readonly string[])[]): Generator<string> {
  const widths: number[] = [];
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  for (const row of rows) {
    const cells = row.map((cell, i) => {
      if (i === row.length - 1) return cell;
      return /^[\d.]/.test(cell) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0);
    });
    yield cells.join("  ").trimEnd();
  }
}
