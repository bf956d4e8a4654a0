import type { Fields } from "./filters/index.ts";
import type { Kind, Snapshot, Usage } from "./state/index.ts";

/** What a snapshot of a directory of its own has of images. */
export const NOTHING_BELOW = {
  layer: null,
  remote: null,
  convertedKey: null,
  chain: null,
  servedBy: null,
  flat: null,
} as const;
export const NO_USAGE: Usage = { sizeBytes: 0, inodes: 0 };
/** Stands for what is below the lowest snapshot. */
export const NO_PARENT: Snapshot = {
  id: 0,
  name: "",
  parent: "",
  kind: "committed",
  labels: {},
  createdNs: 0n,
  updatedNs: 0n,
  usage: NO_USAGE,
  ...NOTHING_BELOW,
};

/** What filters see of a snapshot. */
export function fieldsOf({ name, parent, kind, labels }: Snapshot): Fields {
  return ([field, ...rest]) => {
    switch (field) {
      case "name":
        return name;
      case "parent":
        return parent;
      case "kind":
        return kind satisfies Kind;
      case "labels":
        return Object.hasOwn(labels, rest.join(".")) ? labels[rest.join(".")] : undefined;
    }
    return undefined;
  };
}
