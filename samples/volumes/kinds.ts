import type { VolumeKind } from "../../builder/guestkit/index.ts";

export const KIND_NAMES = ["dax-always", "dax-inode", "no-dax", "vhost-user-fs", "virtiofsd"] as const;
export type KindName = (typeof KIND_NAMES)[number];

const ANY = { server: "blobd", device: "vhost-user-test-device-pci" } as const;
/** So that a process that is killed is followed by another. */
const SUPERVISED = "--supervised";

/** The ways in which a guest gets a volume: blobd's, and virtiofsd's to compare. */
export const KINDS: Readonly<Record<KindName, VolumeKind>> = {
  "dax-always": { ...ANY, serverOptions: [SUPERVISED, "--dax=always"], mountOptions: "dax=always" },
  "dax-inode": { ...ANY, serverOptions: [SUPERVISED, "--dax=inode"], mountOptions: "dax=inode" },
  "no-dax": { ...ANY, serverOptions: [SUPERVISED, "--dax=never"] },
  "vhost-user-fs": { server: "blobd", device: "vhost-user-fs-pci", serverOptions: [SUPERVISED, "--dax=never"] },
  virtiofsd: {
    server: "virtiofsd",
    device: "vhost-user-fs-pci",
    serverOptions: ["--cache=auto", "--inode-file-handles=prefer", "--xattr", "--allow-direct-io"],
  },
};

/** Whether a large file's data are mapped from the host's page cache. */
export function isMapped(kind: KindName): boolean {
  return kind.startsWith("dax-");
}
