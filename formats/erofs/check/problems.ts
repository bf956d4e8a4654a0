import { type ByteString, escapeBytes, FormatError } from "../../bytes/index.ts";

/** Something wrong in an image. */
export interface CheckProblem {
  /** The structure and field, in the format's words. */
  readonly field: string;
  /** The inode it concerns, or -1 for the image as a whole. */
  readonly nid: number;
  /** A path of that inode, escaped; "" for the image as a whole. */
  readonly path: string;
  /** Where, in bytes from the image's start. */
  readonly offset: number;
  /** What was found and what was expected. */
  readonly detail: string;
}

/** A name met on the way to an inode, for its path. */
export interface Place {
  readonly nid: number;
  readonly name: ByteString;
  /** The directory it was met in; null for the root. */
  readonly parent: Place | null;
}

/** Components shown of a path; a hostile image can nest directories a million deep. */
const MAX_COMPONENTS = 256;

/** A place's path, escaped; the middle of a very long one is left out. */
export function pathOf(place: Place | null): string {
  if (place === null) return "";
  const names: string[] = [];
  let at: Place | null = place;
  for (; at !== null && at.parent !== null && names.length < MAX_COMPONENTS; at = at.parent)
    names.push(escapeBytes(at.name));
  if (at !== null && at.parent !== null) names.push("...");
  return `/${names.reverse().join("/")}`;
}

/** Collects problems up to a limit, and counts the rest. */
export class Problems {
  readonly list: CheckProblem[] = [];
  /** All problems met, those beyond the limit too. */
  count = 0;
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(place: Place | null, field: string, offset: number, detail: string): void {
    this.count++;
    if (this.list.length >= this.#limit) return;
    this.list.push({ field, nid: place?.nid ?? -1, path: pathOf(place), offset, detail });
  }

  /** Runs `step`; a FormatError it throws becomes a problem and gives undefined. */
  attempt<T>(place: Place | null, step: () => T): T | undefined {
    try {
      return step();
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      this.add(place, error.field, error.offset, error.detail);
      return undefined;
    }
  }
}
