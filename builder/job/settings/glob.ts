/** Longest pattern, in characters, and most wildcards in it: what a person writes, and what stays quick to match. */
const MAX_PATTERN_LENGTH = 256;
const MAX_WILDCARDS = 8;

/**
 * A matcher for a pattern of repositories or tags: `*` stands for anything but a slash, `**` for anything, `?` for one
 * character other than a slash; the rest for itself. The whole name must match.
 *
 * @throws RangeError
 * @example globMatcher("team/*")("team/app") // true
 */
export function globMatcher(pattern: string): (name: string) => boolean {
  const wildcards = pattern.match(/\*+|\?/g)?.length ?? 0;
  if (pattern === "" || pattern.length > MAX_PATTERN_LENGTH || wildcards > MAX_WILDCARDS)
    throw new RangeError(
      `pattern ${JSON.stringify(pattern.slice(0, 40))}: expected 1 to ${MAX_PATTERN_LENGTH} characters and at most ` +
        `${MAX_WILDCARDS} wildcards`,
    );
  const source = pattern.replace(/\*\*+|[*?]|[^*?]+/g, (part) => {
    if (part === "*") return "[^/]*";
    if (part === "?") return "[^/]";
    return part.startsWith("*") ? ".*" : part.replace(/[\\^$.|+()[\]{}]/g, "\\$&");
  });
  const expression = new RegExp(`^${source}$`, "s");
  return (name) => expression.test(name);
}
