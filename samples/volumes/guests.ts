import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  compileFsload,
  type GuestImage,
  imageMemoryOptions,
  ShellGuest,
  startVolume,
  VIRTIO_FS,
  workloadImage,
} from "../../builder/guestkit/index.ts";
import { guestEnvironment } from "../../builder/testkit/index.ts";
import { isMapped, KINDS, type KindName } from "./kinds.ts";
import { Monitor } from "./monitor.ts";
import { FSLOAD, type Place } from "./place.ts";

/** What guests with volumes need, made once. */
export interface Setting {
  readonly work: string;
  readonly image: GuestImage;
  readonly env: NodeJS.ProcessEnv;
  readonly fsloadPath: string;
}

export interface GuestOptions {
  /** The volume's folder, in the setting's: other guests may have it too. */
  readonly folderName: string;
  /** Longest life of the guest, in ms. */
  readonly timeoutMs?: number;
  /** Of the server, besides the kind's. */
  readonly serverOptions?: readonly string[];
}

/** A guest that has a volume mounted, as workloads take it, but for what they are told. */
export interface VolumeGuest extends Omit<Place, "sizes" | "note"> {
  end(): Promise<void>;
}

export const VOLUME = "/volume";
const MEMORY_BYTES = 1 << 30;
const TIMEOUT_MS = 280_000;
/** A guest that has not come up again by then is stuck. */
const RESTART_WITHIN_MS = 60_000;

export async function makeSetting(work: string): Promise<Setting> {
  const env = { ...process.env, ...(await guestEnvironment()) };
  return { work, image: await workloadImage(work), env, fsloadPath: await compileFsload(work) };
}

/** Boots a guest with a volume. */
export async function bootWithVolume(setting: Setting, kind: KindName, options: GuestOptions): Promise<VolumeGuest> {
  const { work, image, env, fsloadPath } = setting;
  const folder = join(work, options.folderName);
  mkdirSync(folder, { recursive: true });
  const name = `volume${counter++}`;
  const { serverOptions, ...rest } = KINDS[kind];
  // Programs come from the image, and hand its memory to the volume's server: their constants, without a copy.
  const ofImage = rest.server === "blobd" ? await imageMemoryOptions(image, MEMORY_BYTES) : [];
  const server = await startVolume(
    { ...rest, serverOptions: [...serverOptions, ...(options.serverOptions ?? []), ...ofImage] },
    { folder, work, name },
  );
  let booted: ShellGuest | undefined;
  try {
    const monitorPath = join(work, `${name}.qmp`);
    const guest = await ShellGuest.boot({
      ...image,
      memoryBytes: MEMORY_BYTES,
      cpus: 2,
      devices: [...server.devices, "-qmp", `unix:${monitorPath},server=on,wait=off`, "-action", "reboot=reset"],
      needs: [VIRTIO_FS],
      timeoutMs: options.timeoutMs ?? TIMEOUT_MS,
      env,
    });
    booted = guest;
    const monitor = await Monitor.connect(monitorPath);
    const prepare = async () => {
      await guest.put(FSLOAD, readFileSync(fsloadPath));
      await guest.shell(server.mount(VOLUME));
    };
    await prepare();
    return {
      guest,
      server,
      folder,
      volume: VOLUME,
      dax: isMapped(kind),
      daxNew: kind === "dax-always",
      fsloadPath,
      restart: async (how) => {
        // By its kernel, at once: nothing is unmounted, as when it crashes.
        if (how === "reboot") await guest.shell("(sleep 0.2; echo b >/proc/sysrq-trigger) & true");
        else await monitor.command("system_reset");
        await monitor.event("RESET");
        const timer = setTimeout(() => process.kill(guest.pid, "SIGKILL"), RESTART_WITHIN_MS);
        await guest.shell("true").finally(() => clearTimeout(timer));
        await prepare();
      },
      end: async () => {
        monitor.close();
        await guest.end();
        await server.stop();
      },
    };
  } catch (error) {
    await booted?.end();
    await server.stop();
    throw error;
  }
}

let counter = 0;
