import { attachByTag, SourceError, sha256 } from "../../blobd/registry/index.ts";
import { type ImageRecord, Store } from "../../blobd/store/index.ts";
import {
  type Digest,
  EROFS_ARTIFACT,
  EROFS_FEATURE,
  OCI_INDEX,
  type Platform,
  type Reference,
} from "../../formats/oci/index.ts";
import { configOfRecord } from "../open/index.ts";
import { copyManifest } from "./copy-source.ts";
import { descriptorOf } from "./documents.ts";
import { type ConvertedEntry, convertedIndex, imageIndex } from "./image-index.ts";
import { type ContainerdFormat, pushLayers } from "./push-layers.ts";
import { type EncodingOptions, type PushedManifest, type PushProgress, pushManifest } from "./push-manifest.ts";
import { pushStack } from "./push-stack.ts";
import { findManifest, openSource, type SourceImage } from "./source-image.ts";
import { openTarget, type PushTarget, type TargetOptions } from "./target.ts";

/**
 * Where a converted image stands: `tag`: alone, under a name of its own; `index`: in an index, behind its source; `referrer`:
 * attached to its source, without a name.
 */
export type PushForm = "tag" | "index" | "referrer";

/** `erofs`: one file system; `erofs-layers`: one for each layer, for an overlay. */
export type PushFormat = "erofs" | "erofs-layers" | ContainerdFormat;

export interface PushOptions extends EncodingOptions, TargetOptions {
  readonly storeRoot: string;
  /** Where to. Its tag is not looked at for a referrer; without one, an image is pushed by its digest. */
  readonly to: Reference;
  /** Default: tag. */
  readonly form?: PushForm;
  /** What layers are: the draft specification's (default), or what containerd pulls by itself; then `form` is tag. */
  readonly format?: PushFormat;
  /** Where the source is: for an index, and for a referrer. */
  readonly source?: Reference;
  readonly signal?: AbortSignal;
  readonly onProgress?: PushProgress;
}

/** A converted image of one platform. */
export interface PushedImage {
  readonly platform: string;
  readonly manifestDigest: Digest;
  /** Of the manifest that it was made of. */
  readonly sourceDigest: string;
  /** Without config and manifest. */
  readonly layers: readonly { readonly digest: Digest; readonly size: number; readonly mediaType: string }[];
}

export interface PushResult {
  readonly form: PushForm;
  /** Of what the tag means now, a manifest or an index; of the manifest that was attached. */
  readonly manifestDigest: Digest;
  readonly images: readonly PushedImage[];
  /** Layers of all images. */
  readonly layers: PushedImage["layers"];
  /** Of the images' files in the store, in bytes. */
  readonly contentBytes: number;
  /** Of all layers in the registry, in bytes. */
  readonly storedBytes: number;
  readonly seconds: number;
}

interface Pushed {
  readonly record: ImageRecord;
  readonly platform: Platform;
  readonly manifest: PushedManifest;
}

/**
 * Pushes converted images, one for each platform. Names come last, so that a push that ends early leaves nothing that looks
 * whole; nothing that is there is changed but the tag that was asked for, and the list of what is attached to a source where
 * the registry does not keep it.
 * @throws SourceError, StoreError; the reason of `signal`
 */
export async function pushImages(images: readonly ImageRecord[], options: PushOptions): Promise<PushResult> {
  const startMs = performance.now();
  const { form = "tag", format = "erofs", to, onProgress } = options;
  if (format !== "erofs" && form !== "tag") throw new RangeError(`${format} layers as ${form}`);
  const signal = options.signal ?? new AbortController().signal;
  const target = await openTarget(to, options, signal);
  const source = form === "tag" ? undefined : await openSource(sourceOf(options), options, signal);
  const store = await Store.open(options.storeRoot);
  try {
    const pushed: Pushed[] = [];
    for (const record of images) {
      const subject = source && (await findManifest(source, record.manifestDigest));
      const attachedTo = form === "referrer" ? subject?.descriptor : undefined;
      const manifest =
        format === "erofs"
          ? await pushManifest(store, record, options, target, onProgress, attachedTo)
          : format === "erofs-layers"
            ? await pushStack(store, record, options, target, onProgress)
            : await pushLayers(store, record, format, options, target, onProgress);
      const { platform } = configOfRecord(record);
      pushed.push({ record, platform: subject?.entry?.platform ?? platform, manifest });
    }
    const manifestDigest = await name(options, target, source, pushed);
    return { ...summary(pushed), form, manifestDigest, seconds: (performance.now() - startMs) / 1000 };
  } finally {
    store.close();
  }
}

function sourceOf({ source, form }: PushOptions): Reference {
  if (source !== undefined) return source;
  throw new SourceError("ERR_BAD_SOURCE", `an image that is no registry's cannot be pushed as ${form}`);
}

/** Makes what was pushed to be found. */
async function name(
  { form = "tag", format = "erofs", to }: PushOptions,
  target: PushTarget,
  source: SourceImage | undefined,
  pushed: readonly Pushed[],
): Promise<Digest> {
  const { writer } = target;
  const [first] = pushed;
  const { descriptor, bytes } = first!.manifest;
  if (form === "tag" && pushed.length === 1) {
    await writer.putManifest(to.tag ?? descriptor.digest, descriptor.mediaType, bytes);
    return descriptor.digest;
  }
  for (const { manifest, record } of pushed) {
    const { digest, mediaType, size } = manifest.descriptor;
    const subject = await writer.putManifest(digest, mediaType, manifest.bytes);
    const sourceDigest = record.manifestDigest as Digest;
    if (form === "referrer" && subject !== sourceDigest) {
      const attachment = { mediaType, digest, size, artifactType: EROFS_ARTIFACT };
      await attachByTag(target.reader, writer, sourceDigest, attachment);
    }
  }
  if (form === "referrer") return descriptor.digest;
  const index = await indexOf(form, format, target, source, pushed);
  const digest = sha256(index);
  await writer.putManifest(to.tag ?? digest, OCI_INDEX, index);
  return digest;
}

async function indexOf(
  form: PushForm,
  format: PushFormat,
  target: PushTarget,
  source: SourceImage | undefined,
  pushed: readonly Pushed[],
): Promise<Buffer> {
  const entries: ConvertedEntry[] = pushed.map(({ manifest, platform }) => ({
    descriptor: manifest.descriptor,
    platform,
  }));
  // containerd's own form asks for no feature of the host's.
  const features = format === "erofs" || format === "erofs-layers" ? [EROFS_FEATURE] : [];
  if (form === "tag" || source === undefined) return convertedIndex(entries, features);
  const { place, root } = source;
  if (place.name !== target.name) await copyManifest(place, target, descriptorOf(root));
  return imageIndex(root, pushed[0]!.platform, entries);
}

function summary(pushed: readonly Pushed[]) {
  const images = pushed.map(({ record, platform, manifest }): PushedImage => {
    const layers = manifest.layers.map(({ descriptor: { digest, size, mediaType } }) => ({ digest, size, mediaType }));
    const { os, architecture, variant } = platform;
    return {
      platform: [os, architecture, ...(variant ? [variant] : [])].join("/"),
      manifestDigest: manifest.descriptor.digest,
      sourceDigest: record.manifestDigest,
      layers,
    };
  });
  const layers = images.flatMap((image) => image.layers);
  return {
    images,
    layers,
    contentBytes: pushed.reduce((sum, { manifest }) => sum + manifest.contentBytes, 0),
    storedBytes: layers.reduce((sum, { size }) => sum + size, 0),
  };
}
