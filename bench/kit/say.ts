/** Tells on stderr where a benchmark is. */
export function say(message: string): void {
  process.stderr.write(`bench: ${message}\n`);
}
