const NEWLINE = 10;

/**
 * The lines that come over a socket, without their ends, until the connection ends.
 * @throws Error for a line of more than `maxBytes`
 */
export async function* linesOf(
  socket: AsyncIterable<Buffer>,
  maxBytes: number,
): AsyncGenerator<Buffer, void, undefined> {
  /** Of a line whose end has not come: put together once, however many there are. */
  let pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of socket) {
    pieces.push(piece);
    bytes += piece.length;
    if (piece.includes(NEWLINE)) {
      let rest: Buffer = Buffer.concat(pieces);
      for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
        yield rest.subarray(0, end);
        rest = rest.subarray(end + 1);
      }
      pieces = [rest];
      bytes = rest.length;
    }
    if (bytes > maxBytes) throw new Error(`a message of more than ${maxBytes} bytes`);
  }
}
