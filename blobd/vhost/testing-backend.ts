/** A back-end in a process of its own, for tests that kill it: testing-backend.js SOCKET. Not part of the folder's door. */
import { LocalDataPlane } from "./local-data-plane.ts";
import { testDevice } from "./testing.ts";
import { VhostBackend } from "./vhost-backend.ts";

const device = testDevice();
const backend = new VhostBackend(device, new LocalDataPlane(device), { log: (line) => console.error(line) });
backend.listen(process.argv[2] as string);
process.once("SIGTERM", () => void backend.close());
