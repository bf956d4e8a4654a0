/** Longest pattern, in characters: what a person writes. */
const MAX_PATTERN_LENGTH = 256;

/**
 * A matcher for a pattern of repositories or tags: `*` stands for anything but a slash, `**` for anything, `?` for one
 * character other than a slash; the rest for itself. The whole name must match.
 *
 * Names come from whoever may push, so the time is bounded by pattern times name: a regular expression with five stars
 * takes a minute for a name of 255 letters.
 *
 * @throws RangeError
 * @example globMatcher("team/*")("team/app") // true
 */
export function globMatcher(pattern: string): (name: string) => boolean {
  if (pattern === "" || pattern.length > MAX_PATTERN_LENGTH)
    throw new RangeError(
      `pattern ${JSON.stringify(pattern.slice(0, 40))}: expected 1 to ${MAX_PATTERN_LENGTH} characters`,
    );
  const tokens = pattern.match(/\*\*+|./gs)!;
  return (name) => matches(tokens, name);
}

/** Goes through the name once, with all places of the pattern that its beginning can lead to. */
function matches(tokens: readonly string[], name: string): boolean {
  let places = skipStars(tokens, new Uint8Array(tokens.length + 1).fill(1, 0, 1));
  for (const char of name) {
    const next = new Uint8Array(tokens.length + 1);
    for (const [at, token] of tokens.entries()) {
      if (places[at] === 0) continue;
      if (token.startsWith("**") || (token === "*" && char !== "/")) next[at] = 1;
      else if (token === char || (token === "?" && char !== "/")) next[at + 1] = 1;
    }
    places = skipStars(tokens, next);
  }
  return places[tokens.length] === 1;
}

/** A star may stand for nothing. */
function skipStars(tokens: readonly string[], places: Uint8Array): Uint8Array {
  for (const [at, token] of tokens.entries()) if (places[at] === 1 && token.startsWith("*")) places[at + 1] = 1;
  return places;
}
