import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  compileFsload,
  type GuestImage,
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
const ROOT = "/tmp/root";
/**
 * Guests that map a volume have their programs in their own memory. Linux hands a program's pages to the volume's server
 * without a copy, constants of the program among them; those of the image are virtio-pmem's, which QEMU shows to no other device.
 */
const PROGRAMS_IN_MEMORY = `mkdir -p ${ROOT}/tmp ${ROOT}/volume ${ROOT}/other &&
  cp -a /bin /sbin /lib /lib64 /usr /etc ${ROOT} && mv /tmp/fsload ${ROOT}/tmp &&
  for name in proc sys dev; do mkdir ${ROOT}/$name && mount --rbind /$name ${ROOT}/$name || exit 1; done`;
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
  const server = await startVolume(KINDS[kind], { folder, work, name: `volume${counter++}` });
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
    if (KINDS[kind].mountOptions !== undefined)
      await guest.shell(PROGRAMS_IN_MEMORY).then(() => guest.changeRoot(ROOT));
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
