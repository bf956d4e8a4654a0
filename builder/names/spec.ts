import { FormatError } from "../../formats/bytes/index.ts";
import {
  type Digest,
  formatReference,
  type Platform,
  parseDigest,
  parsePlatform,
  parseReference,
  type Reference,
  SourceError,
} from "../../formats/oci/index.ts";

/** Where an image is and how to reach it. Plain data: it can be sent to a worker thread. */
export type SourceSpec =
  | RegistrySpec
  | { readonly kind: "oci"; readonly path: string; readonly image?: LayoutImage; readonly platform: Platform }
  | { readonly kind: "oci-archive"; readonly path: string; readonly image?: LayoutImage; readonly platform: Platform }
  | { readonly kind: "docker-archive"; readonly path: string; readonly image?: string; readonly platform: Platform }
  | { readonly kind: "tar"; readonly path: string; readonly platform: Platform }
  | { readonly kind: "dir"; readonly path: string; readonly platform: Platform };

export interface RegistrySpec {
  readonly kind: "registry";
  readonly reference: Reference;
  readonly platform: Platform;
  /** HTTP without TLS: always, never, or (undefined) as the settings file says and for loopback addresses. */
  readonly plainHttp?: boolean;
}

/** Which image of an OCI layout: by its name there, or by the digest of its manifest or index. */
export type LayoutImage = { readonly name: string } | { readonly digest: Digest };

export interface SourceOptions {
  readonly plainHttp?: boolean;
  /** Which image of a multi-platform one; default: linux and this machine's processor. */
  readonly platform?: Platform;
}

/** Sources that skopeo knows and erofsify does not, with what to do instead. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  "docker-daemon": "write it to a file with `docker save` and use docker-archive:FILE",
  "containers-storage": "write it to a directory with `podman save --format oci-dir` or skopeo and use oci:DIR",
};

/**
 * Understands a source as people write it:
 *
 * | text                                | source                                                        |
 * |-------------------------------------|---------------------------------------------------------------|
 * | `[docker://]REFERENCE`              | registry: `alpine`, `host:5000/a/b:tag`, `quay.io/a@sha256:…`  |
 * | `oci:DIR[:NAME]`, `oci:DIR@sha256:…`| OCI image layout in a directory                               |
 * | `oci-archive:FILE[:NAME]`           | the same in a tar                                             |
 * | `docker-archive:FILE[:REFERENCE]`   | what `docker save` writes                                     |
 * | `tar:FILE`                          | one tar as one layer, also compressed                         |
 * | `dir:PATH`                          | a directory tree as one layer                                 |
 *
 * Paths end at their first colon, as in skopeo.
 *
 * @throws SourceError ERR_BAD_SOURCE
 */
export function parseSource(text: string, options: SourceOptions = {}): SourceSpec {
  const platform = options.platform ?? hostPlatform();
  const [, scheme, rest = ""] = /^([a-z-]+):(.*)$/s.exec(text) ?? [];
  switch (scheme) {
    case "oci":
    case "oci-archive":
      return { kind: scheme, ...layoutPath(text, rest), platform };
    case "docker-archive": {
      const [path, image] = splitPath(text, rest);
      return { kind: scheme, path, ...(image !== undefined && { image: canonicalName(image) }), platform };
    }
    case "tar":
    case "dir":
      if (rest === "") throw noPath(text);
      return { kind: scheme, path: rest, platform };
  }
  if (scheme !== undefined && Object.hasOwn(ELSEWHERE, scheme))
    throw new SourceError("ERR_BAD_SOURCE", `${text}: ${scheme} is not a source of erofsify; ${ELSEWHERE[scheme]}`);
  const reference = referenceOf(text.startsWith("docker://") ? text.slice("docker://".length) : text);
  const { plainHttp } = options;
  return { kind: "registry", reference, platform, ...(plainHttp !== undefined && { plainHttp }) };
}

/** A source in the form in which parseSource understands it. */
export function formatSource(spec: SourceSpec): string {
  switch (spec.kind) {
    case "registry":
      return formatReference(spec.reference);
    case "oci":
    case "oci-archive":
      if (spec.image === undefined) return `${spec.kind}:${spec.path}`;
      return "digest" in spec.image
        ? `${spec.kind}:${spec.path}@${spec.image.digest}`
        : `${spec.kind}:${spec.path}:${spec.image.name}`;
    case "docker-archive":
      return `docker-archive:${spec.path}${spec.image === undefined ? "" : `:${spec.image}`}`;
    default:
      return `${spec.kind}:${spec.path}`;
  }
}

/** Linux on this machine's processor: where an image is wanted that somebody is going to run here. */
export function hostPlatform(): Platform {
  return parsePlatform(process.arch);
}

function layoutPath(text: string, rest: string): { path: string; image?: LayoutImage } {
  const byDigest = /^(.*)@(sha(?:256|512):.*)$/s.exec(rest);
  if (byDigest) {
    if (byDigest[1] === "") throw noPath(text);
    return { path: byDigest[1]!, image: { digest: asBadSource(() => parseDigest(byDigest[2]!, text)) } };
  }
  const [path, name] = splitPath(text, rest);
  return { path, ...(name !== undefined && { image: { name } }) };
}

function splitPath(text: string, rest: string): [path: string, name: string | undefined] {
  const colon = rest.indexOf(":");
  const path = colon < 0 ? rest : rest.slice(0, colon);
  if (path === "") throw noPath(text);
  return [path, colon < 0 ? undefined : rest.slice(colon + 1)];
}

function noPath(text: string): SourceError {
  return new SourceError("ERR_BAD_SOURCE", `${text}: no path follows the colon (oci:DIR, tar:FILE, dir:PATH)`);
}

function canonicalName(name: string): string {
  return formatReference(referenceOf(name));
}

function referenceOf(text: string): Reference {
  return asBadSource(() => parseReference(text));
}

function asBadSource<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof FormatError) throw new SourceError("ERR_BAD_SOURCE", error.message, { cause: error });
    throw error;
  }
}
