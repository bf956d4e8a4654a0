import { DeviceId, FsConfig } from "../../formats/virtio/index.ts";
import type { VirtiofsOptions } from "./device/index.ts";

/** Length of a virtqueue: the most that QEMU's own device offers, and as much as the other takes. */
const QUEUE_LENGTH = 1024;
const HIPRIO_QUEUES = 1;

/**
 * QEMU's options for the device, and what the machine needs. With a window it is the device that takes everything from its
 * back-end (QEMU 11.1 and newer); without one it is QEMU's own, which has no window.
 */
export function qemuLines(
  { tag, queues, windowBytes }: VirtiofsOptions,
  socketPath: string,
  memory: string,
): { machine: string[]; device: string[] } {
  const chardev = `socket,id=virtiofs,path=${socketPath.replaceAll(",", ",,")}`;
  const device =
    windowBytes === 0
      ? `vhost-user-fs-pci,chardev=virtiofs,tag=${tag.replaceAll(",", ",,")},num-request-queues=${queues},queue-size=${QUEUE_LENGTH}`
      : `vhost-user-test-device-pci,chardev=virtiofs,virtio-id=${DeviceId.FS},num_vqs=${HIPRIO_QUEUES + queues},` +
        `config_size=${FsConfig.size},vq_size=${QUEUE_LENGTH}`;
  return {
    machine: [
      ...["-object", `memory-backend-memfd,id=memory,size=${memory},share=on`],
      ...["-machine", "q35,memory-backend=memory", "-m", memory],
    ],
    device: ["-chardev", chardev, "-device", device],
  };
}
