/** WWW-Authenticate: which ways to log in a server offers. RFC 9110, 11.3 and 11.6.1. */

export interface Challenge {
  /** Lower case: `bearer`, `basic`. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** Longer header fields are cut: Node's own limit on all headers together is 16 KiB. */
const MAX_HEADER_LENGTH = 16_384;

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/sy;
const EQUALS = /[ \t]*=[ \t]*/y;
const SEPARATOR = /[ \t,]*/y;

/**
 * Parses the value of a WWW-Authenticate header, which may hold several challenges. Reading stops at the first thing
 * that is none; what was read before it counts.
 *
 * @example parseChallenges('Bearer realm="https://auth.docker.io/token",service="registry.docker.io"')
 */
export function parseChallenges(header: string): Challenge[] {
  const text = header.slice(0, MAX_HEADER_LENGTH);
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match) at = pattern.lastIndex;
    return match;
  };
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  for (;;) {
    take(SEPARATOR);
    const name = take(TOKEN)?.[0].toLowerCase();
    if (name === undefined) return challenges;
    const current = challenges.at(-1);
    // `name = value` is a parameter of the challenge before it; a name alone starts a new challenge.
    if (current && take(EQUALS)) {
      const value = take(QUOTED)?.[1]?.replace(/\\(.)/gs, "$1") ?? take(TOKEN)?.[0];
      if (value === undefined) return challenges;
      if (!current.parameters.has(name)) current.parameters.set(name, value);
    } else {
      challenges.push({ scheme: name, parameters: new Map() });
    }
  }
}
