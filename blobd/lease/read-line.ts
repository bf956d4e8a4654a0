import type { Socket } from "node:net";
import { MAX_CONTROL_BYTES } from "../../formats/control/index.ts";
import { SourceError } from "../../formats/oci/index.ts";

/** The daemon's next line. @throws SourceError when it ends before, or sends too much; the socket's error */
export function readLine(socket: Socket): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  return new Promise((resolve, reject) => {
    if (socket.destroyed) throw new SourceError("ERR_IO", "blobd serve has ended");
    const end = (settle: () => void) => {
      // Read on: only who reads is told of the end.
      socket.off("data", onData).off("error", onError).off("close", onClose).resume();
      settle();
    };
    const onError = (error: Error) => end(() => reject(error));
    const onClose = () => end(() => reject(new SourceError("ERR_IO", "blobd serve has ended in the middle")));
    const onData = (piece: Buffer) => {
      pieces.push(piece);
      bytes += piece.length;
      if (bytes > MAX_CONTROL_BYTES)
        end(() => reject(new SourceError("ERR_LIMIT", "blobd serve answers without an end")));
      else if (piece.includes(10)) end(() => resolve(Buffer.concat(pieces)));
    };
    socket.on("data", onData).on("error", onError).on("close", onClose).resume();
  });
}
