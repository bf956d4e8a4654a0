import type { VolumeKind } from "../../builder/guestkit/index.ts";

export const CASE_IDS = [
  ...["virtiofsd", "blobd", "virtiofsd-best", "blobd-best"],
  ...["blobd-dax-inode", "blobd-dax", "tmpfs"],
] as const;
export type CaseId = (typeof CASE_IDS)[number];

/** A way to give a folder to a guest. */
export interface Case {
  readonly id: CaseId;
  readonly name: string;
  /** `limit`: what no volume can be faster than. */
  readonly kind: "ours" | "peer" | "limit";
  /** How the folder is served; absent for a file system of the guest's own, in which the large file is put. */
  readonly volume?: VolumeKind;
  /** Whose times this one's are held against. */
  readonly against?: CaseId;
  /** DAX is told to be for this case: rows with a `daxFactor` are wanted that much faster. */
  readonly isDax?: boolean;
  /** Shown, but nothing is wanted of it. */
  readonly isShownOnly?: boolean;
}

const HANDLES = "--inode-file-handles=prefer";
/** virtiofsd has no extended attributes unless told to: Linux then asks for none, where it else asks before it writes. */
const NO_XATTR = "--no-xattr";
const QEMU_OWN = { device: "vhost-user-fs-pci" } as const;

export const CASES: readonly Case[] = [
  {
    id: "virtiofsd",
    name: "virtiofsd, cache=auto",
    kind: "peer",
    volume: { server: "virtiofsd", serverOptions: ["--cache=auto", HANDLES], ...QEMU_OWN },
  },
  {
    id: "blobd",
    name: "blobd, cache=auto",
    kind: "ours",
    against: "virtiofsd",
    volume: { server: "blobd", serverOptions: ["--cache=auto", "--dax=never", NO_XATTR], ...QEMU_OWN },
  },
  {
    id: "virtiofsd-best",
    name: "virtiofsd, cache=always, writeback",
    kind: "peer",
    volume: { server: "virtiofsd", serverOptions: ["--cache=always", "--writeback", HANDLES], ...QEMU_OWN },
  },
  {
    id: "blobd-best",
    name: "blobd, cache=always, writeback",
    kind: "ours",
    against: "virtiofsd-best",
    volume: { server: "blobd", serverOptions: ["--cache=always", "--writeback", "--dax=never", NO_XATTR], ...QEMU_OWN },
  },
  {
    id: "blobd-dax-inode",
    name: "blobd, cache=auto, dax=inode",
    kind: "ours",
    against: "virtiofsd",
    isDax: true,
    volume: dax("inode"),
  },
  {
    id: "blobd-dax",
    name: "blobd, cache=auto, dax=always",
    kind: "ours",
    against: "virtiofsd",
    isDax: true,
    isShownOnly: true,
    volume: dax("always"),
  },
  { id: "tmpfs", name: "tmpfs in the guest", kind: "limit", against: "virtiofsd", isShownOnly: true },
];

function dax(mode: "inode" | "always"): VolumeKind {
  return {
    server: "blobd",
    serverOptions: ["--cache=auto", `--dax=${mode}`, "--dax-window=1G", NO_XATTR],
    device: "vhost-user-test-device-pci",
    mountOptions: `dax=${mode}`,
  };
}
