/**
 * Rules for names of extended attributes, as virtiofsd's `--xattrmap` writes them:
 *
 * ```
 *  :type:scope:key:prepend:      the first character is the separator
 *  :map:key:prepend:             short for the usual rules
 * ```
 * A rule looks at the guest's names that start with `key` (scope `client`), at the host's that start with `prepend`
 * (`server`), or at both (`all`). `prefix` puts `prepend` before the guest's name and takes it off the host's; `ok` passes;
 * `bad` refuses (EPERM) or hides; `unsupported` answers ENOTSUP. The first rule that fits counts; a name that fits none is
 * refused.
 */
export interface XattrRule {
  readonly type: "prefix" | "ok" | "bad" | "unsupported";
  readonly client: boolean;
  readonly server: boolean;
  readonly key: string;
  readonly prepend: string;
}

const TYPES = ["prefix", "ok", "bad", "unsupported"] as const;
const SCOPES = ["client", "server", "all"] as const;
/** Most rules: each is tried for each name. */
const MAX_RULES = 64;

/** @throws RangeError for rules that cannot be read. */
export function parseXattrMap(text: string): XattrRule[] {
  const rules: XattrRule[] = [];
  let rest = text.trimStart();
  while (rest !== "") {
    const separator = rest[0]!;
    const parts = rest.slice(1).split(separator);
    const take = parts[0] === "map" ? 3 : 4;
    if (parts.length <= take) throw new RangeError(`xattr map: a rule is cut short at '${rest}'`);
    if (parts[0] === "map") {
      const [, key, prepend] = parts as [string, string, string];
      if (prepend === "") throw new RangeError(`xattr map: 'map' without a prefix at '${rest}'`);
      rules.push(...usualRules(key, prepend));
    } else rules.push(ruleOf(parts as [string, string, string, string], rest));
    rest = parts.slice(take).join(separator).trimStart();
  }
  if (rules.length === 0 || rules.length > MAX_RULES)
    throw new RangeError(`xattr map: found ${rules.length} rules, expected 1 to ${MAX_RULES}`);
  return rules;
}

function ruleOf([type, scope, key, prepend]: readonly [string, string, string, string], where: string): XattrRule {
  if (!(TYPES as readonly string[]).includes(type) || !(SCOPES as readonly string[]).includes(scope))
    throw new RangeError(`xattr map: unknown type or scope at '${where}'`);
  return { type: type as XattrRule["type"], client: scope !== "server", server: scope !== "client", key, prepend };
}

function usualRules(key: string, prepend: string): XattrRule[] {
  const both = { client: true, server: true };
  const all = { ...both, key: "", prepend: "" };
  if (key === "")
    return [
      { ...all, type: "prefix", prepend },
      { ...all, type: "bad" },
    ];
  return [
    { ...both, type: "prefix", key, prepend },
    // The host's own names that a mapped one stands for are hidden; mapped names cannot be reached in another way.
    { type: "bad", client: false, server: true, key: "", prepend: key },
    { type: "bad", client: true, server: false, key: prepend, prepend: "" },
    { ...all, type: "ok" },
  ];
}

/** What becomes of a name: another name, or why it is refused. */
export type MappedXattr = { readonly name: string } | "refused" | "unsupported";

/** A guest's name. @param name a byte string */
export function xattrToHost(rules: readonly XattrRule[], name: string): MappedXattr {
  for (const rule of rules) {
    if (!rule.client || !name.startsWith(rule.key)) continue;
    if (rule.type === "prefix") return { name: rule.prepend + name };
    if (rule.type === "ok") return { name };
    return rule.type === "bad" ? "refused" : "unsupported";
  }
  return "refused";
}

/** A host's name. @returns null when the guest does not see it. */
export function xattrToGuest(rules: readonly XattrRule[], name: string): string | null {
  for (const rule of rules) {
    if (!rule.server || !name.startsWith(rule.prepend)) continue;
    if (rule.type === "prefix") {
      const bare = name.slice(rule.prepend.length);
      if (bare.startsWith(rule.key)) return bare;
    } else return rule.type === "ok" ? name : null;
  }
  return null;
}
