import type { VolumeKind } from "../../builder/guestkit/index.ts";

export const CASE_IDS = ["virtiofsd", "blobd", "virtiofsd-best", "blobd-best", "blobd-dax"] as const;
export type CaseId = (typeof CASE_IDS)[number];

/** A way to give a folder to a guest. */
export interface Case extends VolumeKind {
  readonly id: CaseId;
  readonly name: string;
  readonly kind: "ours" | "peer";
  /** Whose times this one's are held against. */
  readonly against?: CaseId;
}

const HANDLES = "--inode-file-handles=prefer";
const QEMU_OWN = { device: "vhost-user-fs-pci" } as const;

export const CASES: readonly Case[] = [
  {
    id: "virtiofsd",
    name: "virtiofsd, cache=auto",
    kind: "peer",
    server: "virtiofsd",
    serverOptions: ["--cache=auto", HANDLES],
    ...QEMU_OWN,
  },
  {
    id: "blobd",
    name: "blobd, cache=auto",
    kind: "ours",
    against: "virtiofsd",
    server: "blobd",
    serverOptions: ["--cache=auto", "--dax=never"],
    ...QEMU_OWN,
  },
  {
    id: "virtiofsd-best",
    name: "virtiofsd, cache=always, writeback",
    kind: "peer",
    server: "virtiofsd",
    serverOptions: ["--cache=always", "--writeback", HANDLES],
    ...QEMU_OWN,
  },
  {
    id: "blobd-best",
    name: "blobd, cache=always, writeback",
    kind: "ours",
    against: "virtiofsd-best",
    server: "blobd",
    serverOptions: ["--cache=always", "--writeback", "--dax=never"],
    ...QEMU_OWN,
  },
  {
    id: "blobd-dax",
    name: "blobd, cache=auto, DAX",
    kind: "ours",
    against: "virtiofsd",
    server: "blobd",
    serverOptions: ["--cache=auto", "--dax=always", "--dax-window=1G"],
    device: "vhost-user-test-device-pci",
    mountOptions: "dax=always",
  },
];
