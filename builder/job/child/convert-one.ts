/** What runs in the process that converts one image: `erofsify job convert-one`. */
import type { ImageRecord } from "../../../blobd/store/index.ts";
import { hasLibzstd } from "../../../blobd/sys/index.ts";
import { parsePlatform, parseReference } from "../../../formats/oci/index.ts";
import { type ConvertResult, convertImage } from "../../image/index.ts";
import { parseSource } from "../../names/index.ts";
import { pushImages } from "../../push/index.ts";
import type { ConversionMessage, ConversionRequest } from "../child-messages.ts";
import type { PushTarget } from "../queue/index.ts";
import { digestOfTag, isIndexInPlace } from "../registry/index.ts";
import { conversionProgress, pushProgress, type Tell } from "./progress.ts";

/** Meanwhile the tag has been given to another image, whose conversion will be the one that goes there. */
class MovedError extends Error {
  override readonly name = "MovedError";
  readonly code = "ERR_MOVED";
}

/**
 * Reads a request from `input`, converts and pushes, and tells how it went. The end of `input` is the end of the worker:
 * the conversion is given up then.
 * @returns Whether it succeeded.
 */
export async function convertOne(
  input: NodeJS.ReadStream,
  tell: (message: ConversionMessage) => void,
): Promise<boolean> {
  const controller = new AbortController();
  const abort = () => controller.abort(new Error("the worker is gone"));
  process.once("SIGTERM", abort).once("SIGINT", abort);
  try {
    const request = await readRequest(input, abort);
    tell({ type: "result", ...(await convertAndPush(request, controller.signal, tell)) });
    return true;
  } catch (error) {
    const { code, message } = error as { code?: unknown; message?: string };
    tell({ type: "error", code: typeof code === "string" ? code : "ERR_INTERNAL", message: message ?? String(error) });
    return false;
  }
}

function readRequest(input: NodeJS.ReadStream, onEnd: () => void): Promise<ConversionRequest> {
  return new Promise((resolve, reject) => {
    let text = "";
    input.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      const end = text.indexOf("\n");
      if (end >= 0) resolve(JSON.parse(text.slice(0, end)) as ConversionRequest);
    });
    input.once("end", () => {
      onEnd();
      reject(new Error("there is no request"));
    });
    input.once("error", reject);
  });
}

/** Images that are pushed together: one for each tag, all of one index, all that are attached to one source. */
function groupsOf({ form, targets }: ConversionRequest): (readonly PushTarget[])[] {
  return form === "tag" ? targets.map((target) => [target]) : [targets];
}

/** Converts and pushes the images of all platforms. */
async function convertAndPush(request: ConversionRequest, signal: AbortSignal, tell: Tell) {
  let [sourceBytes, targetBytes] = [0, 0];
  let targetDigest: string | null = null;
  for (const group of groupsOf(request)) {
    const records: ImageRecord[] = [];
    for (const { platform } of group) {
      const converted = await convert(request, platform, signal, tell);
      records.push(converted.record);
      sourceBytes += converted.layers.reduce((sum, { size }) => sum + size, 0);
    }
    await checkTag(request, signal);
    const pushed = await pushImages(records, {
      storeRoot: request.storeRoot,
      to: parseReference(group[0]!.reference),
      form: request.form,
      source: parseReference(request.source),
      compression: hasLibzstd() ? "zstd" : "none",
      signal,
      onProgress: pushProgress(tell),
      retry: { onRetry: (reason) => tell({ type: "warning", message: `trying again: ${reason}` }) },
    });
    targetBytes += pushed.storedBytes;
    targetDigest ??= pushed.manifestDigest;
  }
  return { sourceBytes, targetBytes, targetDigest };
}

function convert(
  request: ConversionRequest,
  platform: string | null,
  signal: AbortSignal,
  tell: Tell,
): Promise<ConvertResult> {
  const spec = parseSource(request.source, platform === null ? {} : { platform: parsePlatform(platform) });
  return convertImage(spec, {
    storeRoot: request.storeRoot,
    layer: { inlineTails: false, verity: request.verity },
    ...(request.maxBlobBytes !== undefined && { maxBlobBytes: request.maxBlobBytes }),
    onProgress: conversionProgress(tell),
    signal,
  });
}

/**
 * The source's tag may have moved while the image was converted, and the newer image's conversion may have come first: its
 * result must not be overwritten by an older one. Between this look and the push, moments remain.
 * @throws MovedError
 */
async function checkTag({ source, sourceTag, form }: ConversionRequest, signal: AbortSignal): Promise<void> {
  if (sourceTag === null) return;
  const { registry, repository, digest } = parseReference(source);
  const reference = { registry, repository, tag: sourceTag };
  const now = await digestOfTag(reference, signal);
  if (now === undefined || now === digest) return;
  // An earlier attempt may have put an index made of the source in its place.
  if (form !== "index" || !(await isIndexInPlace(reference, digest!, signal)))
    throw new MovedError(`${registry}/${repository}:${sourceTag} means another image by now, ${now}`);
}
