import { FormatError } from "../../../formats/bytes/index.ts";
import { DocumentError, parseReference } from "../../../formats/oci/index.ts";

const HOST = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?$/;

/** @throws DocumentError unless it is a host with an optional port. */
export function checkHost(host: string, path: string): void {
  if (!HOST.test(host))
    throw new DocumentError("ERR_BAD_VALUE", path, `found ${shown(host)}, expected a host with an optional port`);
}

/** @throws DocumentError unless a registry can have such a repository and tag. */
export function checkName(repository: string, tag: string | undefined, path: string): void {
  if (tag?.includes("/"))
    throw new DocumentError("ERR_BAD_VALUE", `${path}.tag`, `found ${shown(tag)}, expected a tag`);
  const parsed = referenceOf(`registry.invalid/${repository}${tag === undefined ? "" : `:${tag}`}`, path);
  // A tag or digest inside `repository` would have been taken out of it.
  if (parsed.repository !== repository || (tag !== undefined && parsed.tag !== tag))
    throw new DocumentError(
      "ERR_BAD_VALUE",
      path,
      `found the repository ${shown(repository)} and the tag ${shown(tag ?? "")}, expected names without others in them`,
    );
}

/** `parseReference` for a field of a document. @throws DocumentError */
export function referenceOf(text: string, path: string) {
  try {
    return parseReference(text);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new DocumentError("ERR_BAD_VALUE", path, error.detail);
  }
}

export function shown(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}
