/**
 * `blobd serve` as a process: `main.js --store DIR [--idle SECONDS]`. It says `ready` and the socket's path in a line when it
 * can be used.
 */
import { parseArgs } from "node:util";
import { startServing } from "./serve.ts";

const { values } = parseArgs({
  options: {
    store: { type: "string" },
    mount: { type: "string" },
    socket: { type: "string" },
    idle: { type: "string" },
    "give-up": { type: "string" },
  },
});
if (values.store === undefined) throw new Error("--store is missing");
const seconds = (text: string | undefined) => (text === undefined ? undefined : Number(text) * 1000);
const idleMs = seconds(values.idle);
const giveUpMs = seconds(values["give-up"]);
const serving = await startServing({
  storeRoot: values.store,
  ...(values.mount !== undefined && { mountPoint: values.mount }),
  ...(values.socket !== undefined && { socketPath: values.socket }),
  ...(idleMs !== undefined && { idleMs }),
  ...(giveUpMs !== undefined && { fetch: { giveUpMs } }),
  log: (line) => process.stderr.write(`blobd: ${line}\n`),
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => void serving.stop());
process.stdout.write(`ready ${serving.socketPath}\n`);
await serving.done;
process.exit();
