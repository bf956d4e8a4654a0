import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  compileFsload,
  type GuestImage,
  imageMemoryOptions,
  ShellGuest,
  startVolume,
  VIRTIO_FS,
  type Volume,
  workloadImage,
} from "../../builder/guestkit/index.ts";
import { guestEnvironment } from "../../builder/testkit/index.ts";
import { KINDS, type KindName } from "./kinds.ts";
import { FSLOAD } from "./place.ts";

/** What guests with volumes need, made once. */
export interface Setting {
  readonly work: string;
  readonly image: GuestImage;
  readonly env: NodeJS.ProcessEnv;
  readonly fsloadPath: string;
}

/** A guest that has a volume mounted. */
export interface VolumeGuest {
  readonly guest: ShellGuest;
  readonly server: Volume;
  /** The volume's folder on the host. */
  readonly folder: string;
  end(): Promise<void>;
}

export const VOLUME = "/volume";
const MEMORY_BYTES = 1 << 30;
/** Longest life of a guest, in ms. */
const TIMEOUT_MS = 280_000;

export async function makeSetting(work: string): Promise<Setting> {
  const env = { ...process.env, ...(await guestEnvironment()) };
  return { work, image: await workloadImage(work), env, fsloadPath: await compileFsload(work) };
}

/** Boots a guest with a volume: a folder of that name in the setting's, which other guests may have too. */
export async function bootWithVolume(
  { work, image, env, fsloadPath }: Setting,
  kind: KindName,
  options: { readonly folderName?: string; readonly timeoutMs?: number } = {},
): Promise<VolumeGuest> {
  const folder = join(work, options.folderName ?? "folder");
  mkdirSync(folder, { recursive: true });
  const { serverOptions, ...rest } = KINDS[kind];
  // Programs come from the image, and hand its memory to the volume's server: their constants, without a copy.
  const ofImage = rest.server === "blobd" ? await imageMemoryOptions(image, MEMORY_BYTES) : [];
  const server = await startVolume(
    { ...rest, serverOptions: [...serverOptions, ...ofImage] },
    { folder, work, name: `volume${counter++}` },
  );
  try {
    const guest = await ShellGuest.boot({
      ...image,
      memoryBytes: MEMORY_BYTES,
      cpus: 2,
      devices: server.devices,
      needs: [VIRTIO_FS],
      timeoutMs: options.timeoutMs ?? TIMEOUT_MS,
      env,
    });
    await guest.put(FSLOAD, readFileSync(fsloadPath));
    await guest.shell(server.mount(VOLUME));
    const end = async () => {
      await guest.end();
      await server.stop();
    };
    return { guest, server, folder, end };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

let counter = 0;
