import { struct } from "../bytes/index.ts";

/** Bytes of a file system's tag, by which the guest mounts it. */
export const TAG_BYTES = 36;

/**
 * `struct virtio_fs_config`. Virtio 1.3, section 5.11.4. `notify_buf_size` exists with VIRTIO_FS_F_NOTIFICATION only, but a
 * front-end may ask for it anyway.
 */
export const FsConfig = struct("virtio_fs_config", 44, {
  tag: "bytes36",
  numRequestQueues: "u32",
  notifyBufSize: "u32",
});

/** The id of the shared-memory region that is the DAX window. */
export const FS_SHMEM_CACHE = 0;

/**
 * The configuration space of a file system device.
 * @throws RangeError when the tag is empty or longer than TAG_BYTES in UTF-8, or contains a NUL
 */
export function fsConfig(tag: string, requestQueues: number): Uint8Array {
  const name = new TextEncoder().encode(tag);
  if (name.length === 0 || name.length > TAG_BYTES || name.includes(0))
    throw new RangeError(
      `tag ${JSON.stringify(tag)}: has ${name.length} bytes, expected 1 to ${TAG_BYTES} without NUL`,
    );
  const bytes = new Uint8Array(FsConfig.size);
  const view = FsConfig.view(bytes);
  bytes.set(name, FsConfig.at.tag);
  view.numRequestQueues = requestQueues;
  return bytes;
}
