/** What runs in the process that converts one image: `erofsify job convert-one`. */

import { parsePlatform } from "../../../formats/oci/index.ts";
import { convertImage, type ProgressEvent } from "../../image/index.ts";
import { parseSource } from "../../sources/index.ts";
import type { ConversionMessage, ConversionRequest } from "./messages.ts";

/** Between two lines of progress. */
const PROGRESS_MS = 250;

/**
 * Reads a request from `input`, converts, and tells how it went. The end of `input` is the end of the worker: the
 * conversion is given up then.
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
    tell({ type: "result", ...(await convert(request, controller.signal, tell)) });
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

async function convert(request: ConversionRequest, signal: AbortSignal, tell: (message: ConversionMessage) => void) {
  const platforms = request.platforms.length === 0 ? [undefined] : request.platforms.map(parsePlatform);
  let sourceBytes = 0;
  let targetBytes = 0;
  for (const platform of platforms) {
    const spec = parseSource(request.source, platform === undefined ? {} : { platform });
    const onProgress = progressTeller(tell);
    const { record, layers } = await convertImage(spec, {
      storeRoot: request.storeRoot,
      layer: { inlineTails: false },
      ...(request.maxBlobBytes !== undefined && { maxBlobBytes: request.maxBlobBytes }),
      onProgress,
      signal,
    });
    sourceBytes += layers.reduce((sum, { size }) => sum + size, 0);
    targetBytes += record.meta.size + record.blobs.reduce((sum, { size }) => sum + size, 0);
  }
  return { sourceBytes, targetBytes, targetDigest: null };
}

/** Sums the layers' progress up, and tells it not too often. */
function progressTeller(tell: (message: ConversionMessage) => void): (event: ProgressEvent) => void {
  let done: number[] = [];
  let totalBytes = 0;
  let toldMs = 0;
  const tellBytes = (phase: "converting" | "merging") => {
    toldMs = performance.now();
    tell({ type: "progress", phase, doneBytes: done.reduce((sum, bytes) => sum + bytes, 0), totalBytes });
  };
  return (event) => {
    switch (event.type) {
      case "resolved":
        done = event.layers.map(() => 0);
        totalBytes = event.layers.reduce((sum, { size }) => sum + size, 0);
        tellBytes("converting");
        break;
      case "layer":
        done[event.index] = event.bytes;
        if (performance.now() - toldMs >= PROGRESS_MS) tellBytes("converting");
        break;
      case "merging":
        tellBytes("merging");
        break;
      case "warning":
        tell({ type: "warning", message: event.message });
        break;
      case "retry":
        tell({ type: "warning", message: `trying again: ${event.reason}` });
    }
  };
}
