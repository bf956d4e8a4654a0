/** The modules a guest needs, in the order in which they are loaded. */

/** What depmod writes beside the modules of a kernel. modules.dep(5). */
export interface ModuleLists {
  /** `modules.dep`: a module's file, then those it needs, the ones needed last first. */
  readonly dep: string;
  /** `modules.builtin`: files of what is compiled in. */
  readonly builtin: string;
  /** `modules.softdep`: what a module asks for when it runs. */
  readonly softdep: string;
}

/** What became of the modules asked for. */
export interface ModulePlan {
  /** Files to load, relative to the modules folder, each after those it needs. */
  readonly files: readonly string[];
  /** Modules that are neither there nor built in. */
  readonly missing: readonly string[];
}

/**
 * Finds modules and what they need.
 * @param names Module names; `-` and `_` are the same.
 */
export function planModules(lists: ModuleLists, names: readonly string[]): ModulePlan {
  const needs = parseDep(lists.dep);
  const builtin = new Set(lines(lists.builtin).map(moduleName));
  const softdeps = parseSoftdep(lists.softdep);
  const files: string[] = [];
  const missing: string[] = [];
  const seen = new Set<string>();
  const add = (name: string, required: boolean): void => {
    if (seen.has(name)) return;
    seen.add(name);
    const found = needs.get(name);
    if (found === undefined) {
      if (required && !builtin.has(name)) missing.push(name);
      return;
    }
    for (const soft of softdeps.get(name) ?? []) add(soft, false);
    for (const needed of found.needs) add(moduleName(needed), true);
    files.push(found.file);
  };
  for (const name of names) add(name.replaceAll("-", "_"), true);
  return { files, missing };
}

/** The name of a module by its file: `kernel/fs/erofs/erofs.ko.xz` is `erofs`. */
export function moduleName(file: string): string {
  const base = file.slice(file.lastIndexOf("/") + 1);
  return base.replace(/\.ko(\.\w+)?$/, "").replaceAll("-", "_");
}

function parseDep(text: string): Map<string, { file: string; needs: string[] }> {
  return new Map(
    lines(text).map((line) => {
      const [file = "", rest = ""] = line.split(":");
      const needs = rest.split(" ").filter((word) => word !== "");
      return [moduleName(file), { file, needs }];
    }),
  );
}

/** `softdep NAME pre: A B post: C`: what is to be there before. Names that are aliases find nothing, which is fine. */
function parseSoftdep(text: string): Map<string, string[]> {
  const before = new Map<string, string[]>();
  for (const line of lines(text)) {
    const [, name, rest] = /^softdep\s+(\S+)\s+(.*)$/.exec(line) ?? [];
    const pre = rest && /pre:([^:]*?)(?:\s\S+:|$)/.exec(rest)?.[1];
    if (name && pre) before.set(moduleName(name), pre.trim().split(/\s+/).map(moduleName));
  }
  return before;
}

function lines(text: string): string[] {
  return text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
}
