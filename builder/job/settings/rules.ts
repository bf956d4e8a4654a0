/** Which pushes become conversions. */

import { FormatError } from "../../../formats/bytes/index.ts";
import {
  DocumentError,
  type JsonObject,
  normalPlatform,
  type Platform,
  parsePlatform,
} from "../../../formats/oci/index.ts";
import type { PushForm } from "../../push/index.ts";
import { globMatcher } from "./glob.ts";

/** One rule; the first that fits a push decides. */
export interface Rule {
  readonly repository: string;
  readonly tag: string;
  readonly fits: (repository: string, tag: string) => boolean;
  /** False: leave such images alone. */
  readonly convert: boolean;
  /** Which images of a multi-platform one; none named means all of them. */
  readonly platforms: readonly Platform[];
  /** In place of the settings' own. */
  readonly form?: PushForm;
  readonly verity?: boolean;
}

/** A form by its name in the settings. @throws DocumentError */
export function formOf(json: JsonObject): PushForm | undefined {
  const form = json.optionalString("form");
  if (form === undefined || form === "tag" || form === "index" || form === "referrer") return form;
  throw json.wrong("form", "tag, index or referrer");
}

/** Everything is converted, for every platform it has. */
export const CONVERT_ALL: Rule = rule("**", "**", true, []);

const MAX_PLATFORMS = 32;

/** A rule of the settings file: `{"repository": "team/**", "tag": "v*", "platforms": ["linux/amd64"], "convert": true}`. */
export function parseRule(json: JsonObject): Rule {
  const platforms = json.strings("platforms", MAX_PLATFORMS).map((text, i) => {
    try {
      return normalPlatform(parsePlatform(text));
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      throw new DocumentError("ERR_BAD_VALUE", `${json.path}.platforms[${i}]`, error.detail);
    }
  });
  const form = formOf(json);
  const verity = json.optionalBoolean("verity");
  try {
    return {
      ...rule(
        json.optionalString("repository") ?? "**",
        json.optionalString("tag") ?? "**",
        json.optionalBoolean("convert") ?? true,
        platforms,
      ),
      ...(form !== undefined && { form }),
      ...(verity !== undefined && { verity }),
    };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new DocumentError("ERR_BAD_VALUE", json.path, error.message);
  }
}

function rule(repository: string, tag: string, convert: boolean, platforms: readonly Platform[]): Rule {
  const [fitsRepository, fitsTag] = [globMatcher(repository), globMatcher(tag)];
  const fits = (ofRepository: string, ofTag: string) => fitsRepository(ofRepository) && fitsTag(ofTag);
  return { repository, tag, fits, convert, platforms };
}

/** The rule that decides for an image; none means that it is left alone. */
export function ruleFor(rules: readonly Rule[], repository: string, tag: string): Rule | undefined {
  return rules.find((candidate) => candidate.fits(repository, tag));
}
