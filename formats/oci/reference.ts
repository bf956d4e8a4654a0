/**
 * Image references: `[registry[:port]/]repository[:tag][@digest]` with Docker's defaults. Grammar: distribution/reference.
 *
 * | written                     | registry       | repository     | tag      |
 * |-----------------------------|----------------|----------------|----------|
 * | alpine                      | docker.io      | library/alpine | latest   |
 * | user/app:1                  | docker.io      | user/app       | 1        |
 * | localhost/app               | localhost      | app            | latest   |
 * | host:5000/a/b@sha256:…      | host:5000      | a/b            | (none)   |
 */
import { FormatError } from "../bytes/index.ts";
import { type Digest, parseDigest } from "./digest.ts";

/** Where an image is in a registry. At least one of `tag` and `digest` is set; with both, the digest decides. */
export interface Reference {
  /** Host, with its port when one is written: `docker.io`, `localhost:5000`, `[::1]:5000`. */
  readonly registry: string;
  /** Repository path: `library/alpine`. */
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

/** The registry of references that name none. */
export const DEFAULT_REGISTRY = "docker.io";
/** The tag of references that have neither tag nor digest. */
export const DEFAULT_TAG = "latest";
/** Registry and repository together, in characters (distribution/reference, NameTotalLengthMax). */
export const MAX_NAME_LENGTH = 255;
/** A tag, in characters. */
export const MAX_TAG_LENGTH = 128;
/** Anything longer is not looked at: a name, a tag, a digest and their separators. */
const MAX_REFERENCE_LENGTH = 1024;

const PATH_COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/;
const HOST_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?";
const REGISTRY = new RegExp(`^(?:${HOST_LABEL}(?:\\.${HOST_LABEL})*|\\[[0-9A-Fa-f:.]+\\])(?::[0-9]{1,5})?$`);
const IMAGE_ID = /^[0-9a-f]{64}$/;

/**
 * Parses a reference as people write it.
 *
 * @throws FormatError ERR_BAD_VALUE or ERR_UNSUPPORTED: the offset is that of the part that is wrong.
 * @example parseReference("alpine:3.20") // { registry: "docker.io", repository: "library/alpine", tag: "3.20" }
 */
export function parseReference(text: string): Reference {
  if (text.length > MAX_REFERENCE_LENGTH)
    throw bad(
      `${text.slice(0, 40)}…`,
      0,
      `is ${text.length} characters long, at most ${MAX_REFERENCE_LENGTH} make sense`,
    );
  const at = text.indexOf("@");
  const named = at < 0 ? text : text.slice(0, at);
  // A colon after the last slash starts the tag; one before it belongs to a port.
  const colon = named.indexOf(":", named.lastIndexOf("/") + 1);
  const name = colon < 0 ? named : named.slice(0, colon);
  const digest = at < 0 ? undefined : parseDigest(text.slice(at + 1), `reference ${JSON.stringify(text)}`);
  const tag = colon < 0 ? (digest ? undefined : DEFAULT_TAG) : named.slice(colon + 1);
  if (tag !== undefined) checkTag(text, colon + 1, tag);
  return { ...parseName(text, name), ...(tag !== undefined && { tag }), ...(digest && { digest }) };
}

function checkTag(text: string, offset: number, tag: string): void {
  if (!TAG.test(tag))
    throw bad(text, offset, `found the tag ${JSON.stringify(tag)}, expected letters, digits, "_", "." and "-"`);
  if (tag.length > MAX_TAG_LENGTH)
    throw bad(text, offset, `the tag has ${tag.length} characters, at most ${MAX_TAG_LENGTH} are allowed`);
}

function parseName(text: string, name: string): { registry: string; repository: string } {
  const slash = name.indexOf("/");
  const first = slash < 0 ? "" : name.slice(0, slash);
  // The first part is a host when it could not be a path component of Docker Hub, and "localhost" is one by custom.
  const isHost = /[.:[\]A-Z]/.test(first) || first === "localhost";
  const registry = !isHost || first === "index.docker.io" ? DEFAULT_REGISTRY : first;
  let repository = isHost ? name.slice(slash + 1) : name;
  if (!REGISTRY.test(registry))
    throw bad(text, 0, `found the registry ${JSON.stringify(registry)}, expected a host name with an optional port`);
  if (Number(/:(\d+)$/.exec(registry)?.[1] ?? 1) > 65535 || registry.endsWith(":0"))
    throw bad(text, registry.lastIndexOf(":") + 1, "found a port that is not between 1 and 65535");
  if (registry === DEFAULT_REGISTRY && repository !== "" && !repository.includes("/")) {
    if (IMAGE_ID.test(repository))
      throw bad(text, 0, "found an image id of 64 hex digits, expected a name (or a name and @sha256:…)");
    repository = `library/${repository}`;
  }
  checkRepository(text, isHost ? slash + 1 : 0, repository);
  if (registry.length + 1 + repository.length > MAX_NAME_LENGTH)
    throw bad(text, 0, `registry and repository are longer than ${MAX_NAME_LENGTH} characters`);
  return { registry, repository };
}

function checkRepository(text: string, offset: number, repository: string): void {
  for (const component of repository.split("/")) {
    if (PATH_COMPONENT.test(component)) continue;
    const found = JSON.stringify(component);
    throw bad(
      text,
      offset,
      component.toLowerCase() !== component
        ? `found ${found} in the repository, which must be lower case`
        : `found ${found} in the repository, expected lower-case letters and digits, joined by ".", "_", "__" or "-"`,
    );
  }
}

function bad(text: string, offset: number, detail: string): FormatError {
  return new FormatError("ERR_BAD_VALUE", `reference ${JSON.stringify(text)}`, offset, detail);
}

/** The full text of a reference: `parseReference` of it gives the same again. */
export function formatReference(reference: Reference): string {
  const { registry, repository, tag, digest } = reference;
  return `${registry}/${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}
