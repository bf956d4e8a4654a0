/**
 * Who may use the service. An Authorization header counts when it is, as a whole, one of the accepted values: Harbor and
 * the CNCF registry send the value they were configured with, browsers `Basic …`.
 */
import { createHash, timingSafeEqual } from "node:crypto";

export class Authorization {
  readonly #accepted: readonly Buffer[];

  /** @param accepted header values; none means that everybody may. */
  constructor(accepted: readonly string[]) {
    this.#accepted = accepted.map(hash);
  }

  /** Whether anything is asked for at all. */
  get isOpen(): boolean {
    return this.#accepted.length === 0;
  }

  /** Takes the same time for every value: hashes are compared, and all of them. */
  accepts(header: string | undefined): boolean {
    if (this.isOpen) return true;
    const found = hash(header ?? "");
    let accepted = false;
    for (const one of this.#accepted) accepted = timingSafeEqual(one, found) || accepted;
    return accepted;
  }
}

function hash(value: string): Buffer {
  return createHash("sha256").update(value).digest();
}

/** Accepted values from a file: one a line; `#` begins a comment, empty lines are passed over. */
export function parseAuthorizationFile(text: string): string[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
}

/**
 * Whether a form may have been sent by this service's own page: browsers say where a request comes from, and send stored
 * credentials along from anywhere. Programs send neither header.
 */
export function isSameOrigin(headers: Readonly<Record<string, string | string[] | undefined>>): boolean {
  const site = headers["sec-fetch-site"];
  if (site !== undefined) return site === "same-origin" || site === "none";
  const { origin, host } = headers;
  return origin === undefined || (URL.canParse(String(origin)) && new URL(String(origin)).host === host);
}
