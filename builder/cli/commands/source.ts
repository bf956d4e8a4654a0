import { FormatError } from "../../../formats/bytes/index.ts";
import { type Platform, parsePlatform } from "../../../formats/oci/index.ts";
import { parseSource, type SourceSpec } from "../../names/index.ts";
import { UsageError } from "../exit.ts";

/** Options that say which image a reference means, and how its source is reached. */
export interface SourceCommandOptions {
  readonly platform?: string;
  readonly plainHttp?: boolean;
}

/** The source that the user named. @throws UsageError, SourceError ERR_BAD_SOURCE */
export function sourceOf(ref: string, options: SourceCommandOptions): SourceSpec {
  const platform = platformOf(options.platform);
  return parseSource(ref, {
    ...(options.plainHttp && { plainHttp: true }),
    ...(platform !== undefined && { platform }),
  });
}

function platformOf(text: string | undefined): Platform | undefined {
  try {
    return text === undefined ? undefined : parsePlatform(text);
  } catch (error) {
    throw error instanceof FormatError ? new UsageError(`--platform: ${error.detail}`) : error;
  }
}
