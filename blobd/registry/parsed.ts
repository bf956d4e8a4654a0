import { DocumentError, SourceError } from "../../formats/oci/index.ts";

/** Runs a parser; what it refuses becomes a SourceError that names the image. */
export function parsed<T>(name: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error;
    const code = error.code === "ERR_UNSUPPORTED" ? "ERR_UNSUPPORTED" : "ERR_BAD_MANIFEST";
    throw new SourceError(code, `${name}: ${error.message}`, { cause: error });
  }
}
