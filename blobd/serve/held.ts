import { type Held, type Noted, TABLE_FD } from "./keep/index.ts";
import type { Keeping } from "./take-over.ts";

/** In a process that was started by a keeper: what is held for it. */
export async function heldForUs(): Promise<Keeping> {
  const { attached, terms, origins } = await new Promise<Held>((resolve) => {
    process.once("message", (message) => resolve(message as Held));
  });
  // The channel must not keep a process that is done.
  process.channel?.unref();
  // Without its keeper the mount is held by this process alone.
  const note = (noted: Noted) => void (process.connected && process.send!(noted, () => {}));
  return {
    mount: { attached, terms },
    tableFd: TABLE_FD,
    origins: new Map(origins),
    started: (agreed) => note({ terms: agreed }),
    shown: (key, origin) => note({ shown: [key, origin] }),
    gone: (key) => note({ gone: key }),
  };
}
