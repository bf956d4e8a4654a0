/** Which machine an image is for, and which entry of an index fits best. OCI image spec, image-index.md. */
import { FormatError } from "../bytes/index.ts";

/** Operating system and processor, in Go's names: `linux`, `amd64`, `v3`. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
  readonly osVersion?: string;
  readonly osFeatures?: readonly string[];
}

/** Other names of the same architectures: uname's, Debian's, Node's. */
const ARCHITECTURES: Readonly<Record<string, Pick<Platform, "architecture" | "variant">>> = {
  x86_64: { architecture: "amd64" },
  "x86-64": { architecture: "amd64" },
  x64: { architecture: "amd64" },
  i386: { architecture: "386" },
  i686: { architecture: "386" },
  ia32: { architecture: "386" },
  aarch64: { architecture: "arm64" },
  armhf: { architecture: "arm", variant: "v7" },
  armel: { architecture: "arm", variant: "v6" },
  loong64: { architecture: "loong64" },
  ppc64el: { architecture: "ppc64le" },
};

/** What an architecture means when no variant is written. */
const DEFAULT_VARIANT: Readonly<Record<string, string>> = { amd64: "v1", arm64: "v8", arm: "v7" };

const PART = /^[A-Za-z0-9_.-]{1,64}$/;

/**
 * Parses `os/architecture[/variant]`, or an architecture alone (then for linux). Names as uname and Debian write them
 * are understood.
 *
 * @throws FormatError ERR_BAD_VALUE.
 * @example parsePlatform("linux/arm64/v8"); parsePlatform("aarch64")
 */
export function parsePlatform(text: string): Platform {
  const parts = text.split("/");
  if (parts.length > 3 || !parts.every((p) => PART.test(p)))
    throw new FormatError(
      "ERR_BAD_VALUE",
      "platform",
      0,
      `found ${JSON.stringify(text.slice(0, 100))}, expected os/architecture or os/architecture/variant (linux/arm64)`,
    );
  const [os, architecture, variant] = parts.length === 1 ? ["linux", parts[0]!] : (parts as [string, string, string?]);
  return normalPlatform({ os, architecture, ...(variant !== undefined && { variant }) });
}

/** The same platform in Go's names, without a variant that says nothing (arm64/v8, amd64/v1). */
export function normalPlatform(platform: Platform): Platform {
  const known = ARCHITECTURES[platform.architecture.toLowerCase()];
  const architecture = known?.architecture ?? platform.architecture.toLowerCase();
  let variant = platform.variant || known?.variant;
  if (variant !== undefined && /^\d/.test(variant)) variant = `v${variant}`;
  if (variant === DEFAULT_VARIANT[architecture] && architecture !== "arm") variant = undefined;
  const { variant: _, ...rest } = platform;
  return { ...rest, os: platform.os.toLowerCase(), architecture, ...(variant !== undefined && { variant }) };
}

/** `linux/arm/v7`. */
export function formatPlatform(platform: Platform): string {
  return [platform.os, platform.architecture, ...(platform.variant ? [platform.variant] : [])].join("/");
}

/**
 * How well an image for `offered` suits `wanted`: 0 is not at all, more is better. Equal variants suit best; an older
 * variant of the same architecture (arm/v6 for arm/v7, amd64/v2 for amd64/v3) runs too, the newest of them first.
 */
export function platformFit(offered: Platform, wanted: Platform): number {
  const a = normalPlatform(offered);
  const b = normalPlatform(wanted);
  if (a.os !== b.os || a.architecture !== b.architecture) return 0;
  const has = variantNumber(a);
  const wants = variantNumber(b);
  if (has === undefined || wants === undefined) return (a.variant ?? "") === (b.variant ?? "") ? 100 : 0;
  return has > wants ? 0 : 100 - (wants - has);
}

function variantNumber(platform: Platform): number | undefined {
  const variant = platform.variant ?? DEFAULT_VARIANT[platform.architecture];
  const digits = variant && /^v(\d{1,2})/.exec(variant)?.[1];
  return digits ? Number(digits) : undefined;
}
