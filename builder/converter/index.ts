/**
 * The converter process: `erofsify converter`, started by a daemon (blobd/conversion), which sends jobs over Node's IPC
 * channel. It parses what is hostile, so that the daemon need not.
 */
import type { FromConverter, ToConverter } from "../../blobd/conversion/index.ts";
import { ConverterServer } from "./serve.ts";

export { UpperError, type UpperOptions, walkUpper } from "./upper-walk.ts";

/**
 * Serves the parent process until it closes the channel or dies.
 * @throws Error when this process was not started by a daemon
 */
export async function runConverter(): Promise<void> {
  const { send } = process;
  if (send === undefined) throw new Error("erofsify converter is started by blobd, not by hand");
  const channel = {
    // Without a callback, a message to a daemon that has just died would throw.
    send: (message: FromConverter) => void send.call(process, message, undefined, undefined, () => {}),
  };
  const server = new ConverterServer(channel);
  const disconnected = new Promise<void>((resolve) => process.once("disconnect", resolve));
  process.on("message", (message: ToConverter) => server.receive(message));
  // The daemon ends us in its own time, when whoever holds the terminal or the service stops the group.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => {});
  channel.send({ type: "ready" });
  await disconnected;
  await server.close();
}
