/** What tests of file systems and transports share; not part of the folder's door. */
export { type Call, fill, TestClient } from "./client.ts";
export { MemoryFileSystem } from "./memory-file-system.ts";
export { type HostileMessage, hostileMessage } from "./mutate.ts";
