import { FormatError } from "../bytes/index.ts";

/** A content digest in its text form, `sha256:` and 64 lower-case hex digits. */
export type Digest = `sha256:${string}`;

const SHA256 = /^sha256:[0-9a-f]{64}$/;
/** algorithm ":" encoded, with the algorithm's components joined by `+.-_`. OCI image spec, descriptor.md, "Digests". */
const ANY = /^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$/;

/** Whether `text` is a sha256 digest as this project uses it. */
export function isDigest(text: string): text is Digest {
  return SHA256.test(text);
}

/**
 * The digest written in `text`. Only sha256 is known: it is what registries hold, and what the store is keyed by.
 *
 * @param where What the digest belongs to, for the error.
 * @throws FormatError ERR_UNSUPPORTED for another algorithm, ERR_BAD_VALUE for anything that is not a digest.
 */
export function parseDigest(text: string, where: string): Digest {
  if (isDigest(text)) return text;
  const shown = JSON.stringify(text.slice(0, 100));
  if (ANY.test(text) && !text.startsWith("sha256:"))
    throw new FormatError("ERR_UNSUPPORTED", where, 0, `found the digest ${shown}, only sha256 is supported`);
  throw new FormatError("ERR_BAD_VALUE", where, 0, `found ${shown}, expected sha256: and 64 hex digits (lower case)`);
}

/** The 64 hex digits of a digest. */
export function digestHex(digest: Digest): string {
  return digest.slice("sha256:".length);
}
