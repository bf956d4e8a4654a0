/**
 * How images are handed to runtimes that start virtual machines: nothing is mounted on the host, the mounts name files.
 *
 *     erofs   erofs META, device=BLOB …; overlay    what containerd's own erofs snapshotter gives, and Kata's runtime-rs takes:
 *                                                   one block device a file, or all in a row behind one
 *     pmem    the same, to be mounted with DAX      one read-only virtio-pmem device a file; sizes are multiples of 2 MiB
 *     block   fuse.nydus-overlayfs with the option  one file with all of it; what nydus-snapshotter gives for raw block images,
 *             io.katacontainers.volume              and Kata's Go runtime takes (KataVirtualVolume, image_raw_block)
 *     layered erofs META, device=BLOB for each      containerd's own layout for containers of the host: its mount manager (2.2)
 *             layer; overlay over all of them       mounts them. With files as devices: Linux 6.12
 */
import { type Mount, ServiceError } from "./grpc/index.ts";
import type { UpperPaths } from "./mount-plan.ts";

export const VM_FORMS = ["erofs", "pmem", "block", "layered"] as const;
export type VmForm = (typeof VM_FORMS)[number];

/** Label of a snapshot that chooses the form, or `none`. CRI makes a container's annotation of this name one. */
export const VM_LABEL = "containerd.io/snapshot/erofsify.vm";

/** The form that a snapshot is to have. @throws ServiceError invalid argument for a form that is none */
export function vmFormOf(labels: Readonly<Record<string, string>>, byDefault: VmForm | null): VmForm | null {
  const text = labels[VM_LABEL];
  if (text === undefined) return byDefault;
  if (text === "none") return null;
  const form = VM_FORMS.find((one) => one === text);
  if (form !== undefined) return form;
  const expected = [...VM_FORMS, "none"].join(", ");
  throw new ServiceError("invalid argument", `${VM_LABEL}: found ${JSON.stringify(text)}, expected ${expected}`);
}

/** An image as files of the host. */
export interface VmImage {
  readonly metaPath: string;
  /** In slot order. */
  readonly devicePaths: readonly string[];
}

/**
 * An image by its files. The overlay over it is the runtime's to make, in the guest: `{{ mount 0 }}` is the place of the first
 * mount, as in containerd's own templates.
 * @param upper where a container writes; null: it only reads
 */
export function deviceMounts(form: "erofs" | "pmem", image: VmImage, upper: UpperPaths | null): Mount[] {
  const lower = erofsMount(image, form === "pmem" ? ["dax=always"] : []);
  if (upper === null) return [lower];
  const options = [`workdir=${upper.work}`, `upperdir=${upper.upper}`, "lowerdir={{ mount 0 }}"];
  return [lower, { type: "format/overlay", source: "overlay", options }];
}

function erofsMount({ metaPath, devicePaths }: VmImage, more: readonly string[]): Mount {
  const devices = devicePaths.map((path) => `device=${path}`);
  return { type: "erofs", source: metaPath, options: ["ro", ...more, ...devices] };
}

/**
 * Layers as containerd's erofs snapshotter names them (plugins/snapshots/erofs of 2.2): `{{ overlay 0 N }}` are the places of
 * mounts 0 to N.
 * @param layers topmost first, at least one
 * @param directories lower directories above them, topmost first
 * @param upper as in `deviceMounts`
 * @param idMap options by which containerd maps ids
 */
export function layeredMounts(
  layers: readonly VmImage[],
  directories: readonly string[],
  upper: UpperPaths | null,
  idMap: readonly string[],
): Mount[] {
  const lowers = layers.map((layer) => erofsMount(layer, []));
  const isOne = lowers.length === 1;
  if (upper === null && isOne && directories.length === 0) {
    if (idMap.length === 0) return lowers;
    return [...lowers, { type: "format/bind", source: "{{ mount 0 }}", options: [...idMap, "ro", "rbind"] }];
  }
  const places = isOne ? "{{ mount 0 }}" : `{{ overlay 0 ${lowers.length - 1} }}`;
  const own = upper === null ? [] : [`workdir=${upper.work}`, `upperdir=${upper.upper}`];
  const options = [...idMap, ...own, `lowerdir=${[...directories, places].join(":")}`];
  return [...lowers, { type: "format/overlay", source: "overlay", options }];
}

/**
 * An image as one raw block device. The rest is an overlay as runc gets it, so that a runtime which does not know the option can
 * leave it out.
 */
export function blockMounts(flatPath: string, overlayOptions: readonly string[]): Mount[] {
  const volume = { volume_type: "image_raw_block", source: flatPath, fs_type: "erofs", options: ["ro"] };
  const encoded = Buffer.from(JSON.stringify(volume)).toString("base64");
  const options = [...overlayOptions, `io.katacontainers.volume=${encoded}`];
  return [{ type: "fuse.nydus-overlayfs", source: "overlay", options }];
}
