import type { DiffJob, DiffResult } from "../../blobd/conversion/index.ts";
import { TarWriter } from "../../formats/tar/index.ts";
import { LayerFile } from "./layer-file.ts";
import { walkUpper } from "./upper-walk.ts";

/**
 * Attributes that belong to the file and not to the host: capabilities, access lists, users' own. Labels of a security
 * module and trusted ones stay where they are.
 */
function belongsToFile(name: string): boolean {
  return name === "security.capability" || name.startsWith("system.posix_acl_") || name.startsWith("user.");
}

/**
 * Writes an OCI layer of what a container changed. Times are whole seconds, as in containerd's own layers; the root
 * directory has no entry.
 *
 * @throws UpperError for what a layer cannot say; SourceError; the reason of `signal`; the file system's error
 */
export async function diffJob(job: DiffJob, signal: AbortSignal): Promise<DiffResult> {
  const file = new LayerFile(job);
  try {
    const writer = new TarWriter(file.write);
    await walkUpper(job.upper, writer, {
      signal,
      drain: file.drain,
      root: false,
      keepXattr: belongsToFile,
      wholeSeconds: true,
      ...(job.latestSeconds !== null && { latestSeconds: job.latestSeconds }),
    });
    writer.finish();
    return await file.finish();
  } catch (error) {
    await file.abort();
    throw error;
  }
}
