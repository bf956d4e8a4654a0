/** Looks at what was pushed, and decides what becomes of it. */
import { setTimeout as delay } from "node:timers/promises";
import {
  type Digest,
  formatPlatform,
  type Platform,
  parseReference,
  platformFit,
  type Reference,
} from "../../../formats/oci/index.ts";
import {
  type Conversion,
  enqueue,
  findDone,
  type Held,
  ignore,
  pushTargets,
  type QueueContext,
  type Target,
} from "../queue/index.ts";
import { digestOfTag, type Inspection, inspect, isIndexInPlace } from "../registry/index.ts";
import { type Rule, ruleFor } from "../settings/index.ts";

/** What became of a request: for the metrics. */
export type Verdict = "queued" | "merged" | "ignored" | "cancelled" | "lost";

const MAX_TAG_LENGTH = 128;
/** The fallback tag of registries without the referrers API. */
const REFERRERS_TAG = /^sha256-[0-9a-f]{64}$/;

/** @throws SourceError when the registry cannot tell, for this attempt */
export async function lookUp(context: QueueContext, held: Held, signal: AbortSignal): Promise<Verdict> {
  const asked = held.origin === "api" || held.origin === "page";
  const leave = async (reason: string, code = "ERR_IGNORED"): Promise<Verdict> =>
    (await ignore(context, held, reason, code)) ? "ignored" : "lost";

  if (held.tag === null && !asked) return leave("was pushed without a tag");
  if (!asked && REFERRERS_TAG.test(held.tag!)) return leave("lists what is attached to an image");
  // Rules are for what registries tell; a person who names an image wants it.
  const rule = asked ? undefined : ruleFor(context.settings.rules, held.repository, held.tag!);
  if (!asked && !rule?.convert) return leave("no rule wants it");

  const found = await inspectSettled(held, signal);
  if (found === undefined)
    return leave(asked ? "is not in the registry" : "is no longer in the registry", "ERR_NOT_FOUND");
  if (held.digest !== null && found.digest !== held.digest)
    return leave(`the tag ${held.tag} means another image by now, ${found.digest}`, "ERR_MOVED");
  if (found.refusal !== undefined) return leave(found.refusal, "ERR_UNSUPPORTED");

  const platforms = wantedPlatforms(held, rule, found.platforms);
  if (platforms.length === 0 && found.platforms.length > 0)
    return leave(`is for ${found.platforms.map(formatPlatform).join(", ")}, which nobody wants`, "ERR_PLATFORM");
  const form = rule?.form ?? context.settings.form;
  if (form === "index" && held.tag === null) return leave("has no tag, which an index needs", "ERR_UNSUPPORTED");
  const pattern = context.settings.targetTag ?? (form === "index" ? "{tag}" : "{tag}-erofs");
  const tag = pattern.replaceAll("{tag}", held.tag ?? found.digest.replace(":", "-"));
  const targetTag = form === "referrer" ? null : tag;
  if (tag.length > MAX_TAG_LENGTH && targetTag !== null) return leave(`the tag ${tag} would be too long`, "ERR_LIMIT");
  const target: Target = {
    digest: found.digest,
    form,
    targetTag,
    verity: rule?.verity ?? context.settings.verity,
    platforms: platforms.map(formatPlatform),
    sourceBytes: found.sourceBytes,
  };
  const done = held.force ? undefined : await findDone(context, held, target);
  return enqueue(context, held, target, done && (await isThere(done, signal)) ? done : undefined);
}

/**
 * Looks at the image; undefined when it is gone. A registry may tell of a push before it has written the tag (docker-registry
 * does, by moments), so a tag that does not mean what was pushed is looked at again before that is believed.
 * @throws PendingError for the first attempt of a lookup
 */
async function inspectSettled(held: Held, signal: AbortSignal): Promise<Inspection | undefined> {
  const lookAt = (reference: Reference) =>
    inspect(reference, signal).catch((error: { code?: unknown }) => {
      if (error.code === "ERR_NOT_FOUND") return undefined;
      throw error;
    });
  const look = async () => {
    const found = await lookAt(referenceOf(held));
    const { registry, repository } = held;
    const digest = held.digest as Digest | null;
    // Its conversion may have become an index in its place: the image is what that was made of.
    if (found === undefined || digest === null || found.digest === digest) return found;
    const isMadeOfIt = held.tag !== null && (await isIndexInPlace(referenceOf(held), digest, signal));
    return isMadeOfIt ? lookAt({ registry, repository, digest }) : found;
  };
  let found = await look();
  if (held.digest === null || held.tag === null) return found;
  for (const pauseMs of TAG_PAUSES_MS) {
    if (found?.digest === held.digest) return found;
    await delay(pauseMs, undefined, { signal });
    found = await look();
  }
  if (found?.digest !== held.digest && held.attempt === 1)
    throw new PendingError(`the tag ${held.tag} does not mean ${held.digest}, which was pushed to it, or not yet`);
  return found;
}

/** Pauses between looks at a tag that does not mean what was pushed to it. */
const TAG_PAUSES_MS = [50, 200, 500, 1000];

class PendingError extends Error {
  override readonly name = "PendingError";
  readonly code = "ERR_TAG_PENDING";
}

function referenceOf({ registry, repository, tag, digest }: Held): Reference {
  return { registry, repository, ...(tag !== null ? { tag } : { digest: digest as Digest }) };
}

/** Those of the image's platforms that the request or else the rule names; all when neither does. */
function wantedPlatforms(held: Held, rule: Rule | undefined, offered: readonly Platform[]): readonly Platform[] {
  const wanted = held.platforms.length > 0 ? held.platforms.map(platformOf) : (rule?.platforms ?? []);
  if (wanted.length === 0) return offered;
  return offered.filter((platform) => wanted.some((one) => platformFit(platform, one) === 100));
}

function platformOf(text: string): Platform {
  const [os = "", architecture = "", variant] = text.split("/");
  return { os, architecture, ...(variant !== undefined && { variant }) };
}

/** Whether what a conversion pushed (for its first platform) is still where it was pushed to. */
async function isThere(done: Conversion, signal: AbortSignal): Promise<boolean> {
  const { registry, repository, form, targetDigest } = done;
  if (form === "referrer" && targetDigest !== null)
    return (await digestOfTag({ registry, repository, digest: targetDigest as Digest }, signal)) !== undefined;
  const [target] = pushTargets(done);
  return (await digestOfTag(parseReference(target!.reference), signal)) === targetDigest;
}
