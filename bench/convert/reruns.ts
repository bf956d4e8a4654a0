import { rm } from "node:fs/promises";
import { measure } from "../kit/index.ts";
import type { Case, Group } from "./case.ts";
import { erofsify } from "./programs.ts";
import type { Setting } from "./setting.ts";
import type { Variants } from "./variants.ts";

/** What a conversion costs when the store has most or all of the image. */
export function reruns(setting: Setting, { topAlone, topChanged }: Variants): Group {
  const { reference, work } = setting;
  return {
    id: "rerun",
    title: "The three-layer image again",
    cases: [
      rerunCase(setting, { name: TOP_CHANGED, image: topChanged, before: reference, converts: 1 }),
      rerunCase(setting, { name: TOP_ALONE, image: topAlone, converts: 1 }),
      rerunCase(setting, { name: "nothing changed", image: reference, before: reference, converts: 0 }),
      { name: "erofsify --version", kind: "limit", measure: () => measure(erofsify(["--version"]), work) },
    ],
  };
}

export const TOP_CHANGED = "top layer changed, others in the store";
export const TOP_ALONE = "that layer alone, empty store";

interface Rerun {
  readonly name: string;
  /** The image to convert. */
  readonly image: string;
  /** The one that the store has. */
  readonly before?: string;
  /** How many layers the store must turn out to lack. */
  readonly converts: number;
}

function rerunCase(setting: Setting, { name, image, before, converts }: Rerun): Case {
  const store = setting.fresh("store");
  const convert = (reference: string) =>
    measure(erofsify(["--quiet", "--json", "--store", store, reference]), setting.work);
  return {
    name,
    kind: "ours",
    async setUp() {
      if (before !== undefined) await convert(before);
    },
    async measure() {
      const run = await convert(image);
      const { layersConverted } = JSON.parse(run.stdout) as { layersConverted: number };
      if (layersConverted !== converts)
        throw new Error(`${name}: erofsify converted ${layersConverted} layers, expected ${converts}`);
      return run;
    },
    async tearDown() {
      await rm(store, { recursive: true, force: true });
    },
  };
}
