import { compareTrees, type Exception, type TreeDescription } from "../../builder/testkit/index.ts";
import type { Case, Group } from "./case.ts";

/** Differences of one kind. */
export interface Difference {
  readonly kind: string;
  readonly count: number;
  readonly example: string;
}

/** How a case's tree compares with the reference's. */
export interface Comparison {
  readonly group: string;
  readonly name: string;
  readonly reference: string;
  /** Paths in the reference's tree. */
  readonly paths: number;
  /** None when both trees are the same. */
  readonly differences: readonly Difference[];
}

/**
 * Does the work of a group's cases once more, one after the other, and compares the trees that come out with the
 * reference's, path by path: types, modes, owners, times, sizes, contents, links, devices and attributes.
 */
export async function compareGroup(group: Group): Promise<Comparison[]> {
  if (group.reference === undefined) return [];
  const { reference } = group;
  const expected = await treeOf(group.cases.find(({ name }) => name === reference)!);
  const comparisons: Comparison[] = [];
  for (const one of group.cases) {
    if (one.describe === undefined || one.name === reference) continue;
    const differences = summarize(compareTrees(expected, await treeOf(one), rootOutsideArchive));
    comparisons.push({ group: group.id, name: one.name, reference, paths: expected.size, differences });
  }
  return comparisons;
}

/** GNU tar leaves the time of the directory that it unpacks into as it was when the archive does not name it. */
const rootOutsideArchive: Exception = (path, fact) => path === "/" && fact === "mtime";

async function treeOf(one: Case): Promise<TreeDescription> {
  await one.setUp?.();
  try {
    await one.measure();
    return await one.describe!();
  } finally {
    await one.tearDown?.();
  }
}

/** A line of compareTrees for each kind of difference, and how many there are of it. */
function summarize(lines: readonly string[]): Difference[] {
  const kinds = new Map<string, Difference>();
  for (const line of lines) {
    const kind = kindOf(line);
    const { count, example } = kinds.get(kind) ?? { count: 0, example: line };
    kinds.set(kind, { kind, count: count + 1, example });
  }
  return [...kinds.values()];
}

function kindOf(line: string): string {
  if (/\/\.wh\.[^/]*: not expected$/.test(line)) return "whiteout left in the tree as a file";
  return /: (missing|not expected)$/.exec(line)?.[1] ?? `${/: (\S+): expected /.exec(line)?.[1] ?? "other"} differs`;
}
