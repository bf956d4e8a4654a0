/** Labels of snapshots that say what they are made for. */
export type Labels = Readonly<Record<string, string>>;

/** The label of a snapshot that a layer is to be put into: the name it will be committed under. */
export const SNAPSHOT_REF = "containerd.io/snapshot.ref";
/** Labels by which CRI and the transfer service tell a layer, and all of its image from it on to the last. */
const LAYER_DIGEST = "containerd.io/snapshot/cri.layer-digest";
const IMAGE_LAYERS = "containerd.io/snapshot/cri.image-layers";
/** How clients that set no such label name it (containerd's snapshots.UnpackKeyPrefix), behind namespace and number. */
export const EXTRACTION = /(?:^|\/)extract-/;

/** Where in its image the layer is that a snapshot is made for. */
export function placeOf(labels: Labels): "last" | "below" | "unknown" {
  const layers = labels[IMAGE_LAYERS];
  if (layers === undefined) return "unknown";
  return layers === labels[LAYER_DIGEST] ? "last" : "below";
}

/** A label without a value is none, as in containerd's own databases. */
export function withoutEmpty(labels: Labels): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).filter(([, value]) => value !== ""));
}
