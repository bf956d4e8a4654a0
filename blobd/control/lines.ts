import type { Socket } from "node:net";

/**
 * The lines that come over a socket, without their ends, until the connection ends.
 * @throws Error for a line of more than `maxBytes`
 */
export async function* linesOf(socket: Socket, maxBytes: number): AsyncGenerator<Buffer, void, undefined> {
  let rest = Buffer.alloc(0);
  for await (const piece of socket as AsyncIterable<Buffer>) {
    rest = Buffer.concat([rest, piece]);
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      yield rest.subarray(0, end);
      rest = rest.subarray(end + 1);
    }
    if (rest.length > maxBytes) throw new Error(`a message of more than ${maxBytes} bytes`);
  }
}
