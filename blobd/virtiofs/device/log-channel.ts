import { BroadcastChannel } from "node:worker_threads";

/** What the threads of a device have to say goes to the main thread, which has the logger. */
const NAME = "blobd-virtiofs-log";

/** In a thread: how it says something. */
export function openLog(): (line: string) => void {
  const channel = new BroadcastChannel(NAME);
  // It would keep the thread alive.
  channel.unref();
  return (line) => channel.postMessage(line);
}

/** In the main thread: hears what the threads say, until it is closed. It does not keep the process alive. */
export function hearLog(told: (line: string) => void): { close(): void } {
  const channel = new BroadcastChannel(NAME);
  channel.onmessage = (event) => told(String((event as { data: unknown }).data));
  channel.unref();
  return channel;
}
