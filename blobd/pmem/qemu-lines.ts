import { DeviceId, PMEM_CONFIG_BYTES } from "../../formats/virtio/index.ts";

/** Length of the virtqueue: Linux asks for one flush at a time. */
const QUEUE_LENGTH = 128;

/** QEMU's options for the device (11.1 and newer). The guest's memory has to be shared besides. */
export function qemuLines(socketPath: string, id = "pmem"): string[] {
  return [
    ...["-chardev", `socket,id=${id},path=${socketPath.replaceAll(",", ",,")}`],
    "-device",
    `vhost-user-test-device-pci,chardev=${id},virtio-id=${DeviceId.PMEM},num_vqs=1,` +
      `config_size=${PMEM_CONFIG_BYTES},vq_size=${QUEUE_LENGTH}`,
  ];
}
