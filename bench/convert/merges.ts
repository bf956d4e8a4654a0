import { join } from "node:path";
import { buildTar, run } from "../../builder/testkit/index.ts";
import { type ByteString, fromBytes } from "../../formats/bytes/index.ts";
import { measure } from "../kit/index.ts";
import type { Group } from "./case.ts";
import type { MergeReport } from "./merge.ts";
import { erofsify, program } from "./programs.ts";
import { type Setting, TAG } from "./setting.ts";
import { finishLayout, newLayout, putLayer } from "./variants.ts";

/** The top layer removes every fiftieth file of linux-source. */
const REMOVED_OF = 50;
/** And makes these of its directories opaque. */
const OPAQUE = ["drivers/staging", "tools/perf", "arch/powerpc"];

export const MERGE = "read, merge and write, in process";

/** A layer's meta in a store, and how many files it has. */
interface Meta {
  readonly path: string;
  readonly files: number;
}

/**
 * The merge by itself: linux-source, the image's middle layer, and a layer of whiteouts over linux-source. Makes their
 * metas, so it takes some seconds.
 */
export async function merges(setting: Setting): Promise<Group> {
  const store = setting.fresh("metas");
  const metasOf = async (source: string): Promise<Meta[]> => {
    const { stdout } = await run(process.execPath, erofsify(["--quiet", "--json", "--store", store, source]).args);
    const { layerDetails } = JSON.parse(stdout) as { layerDetails: LayerDetail[] };
    return layerDetails.map(({ meta, stats }) => ({
      path: join(store, "blobs/sha256", meta.digestHex),
      files: stats.files,
    }));
  };
  const [source] = await metasOf(`tar:${setting.linuxSource}`);
  const [, middle] = await metasOf(setting.reference);
  const [whiteouts] = await metasOf(await whiteoutLayout(setting));
  const metas = [source!, middle!, whiteouts!];
  const files = metas.reduce((sum, meta) => sum + meta.files, 0);
  return {
    id: "merge",
    title: `Merge of ${metas.length} metas with ${files.toLocaleString("en")} files`,
    cases: [
      {
        name: MERGE,
        kind: "ours",
        async measure() {
          const all = await measure(program("merge.js", ...metas.map(({ path }) => path)), setting.work);
          const report = JSON.parse(all.stdout) as MergeReport;
          if (report.inodesOut < LEAST_INODES || report.inodesOut >= report.inodesIn)
            throw new Error(`the merge of ${report.inodesIn} inodes gave ${report.inodesOut}`);
          return { ...all, wallSeconds: report.readSeconds + report.mergeSeconds + report.writeSeconds };
        },
      },
    ],
  };
}

/** Of erofsify's JSON. */
interface LayerDetail {
  readonly meta: { readonly digestHex: string };
  readonly stats: { readonly files: number };
}

/** The merged image is to have this many inodes at least, so that what is measured is what is said. */
const LEAST_INODES = 100_000;

/** An image whose only layer removes files of linux-source. @returns its source reference. */
async function whiteoutLayout(setting: Setting): Promise<string> {
  const { stdout } = await run("tar", ["tzf", setting.linuxSource]);
  const paths = stdout.split("\n").map((path) => fromBytes(Buffer.from(path)));
  const files = paths.filter((path) => path !== "" && !path.endsWith("/"));
  const top = paths[0]!.split("/", 1)[0]!;
  const entries = [
    ...files.filter((_, at) => at % REMOVED_OF === 0).map(whiteoutOf),
    ...OPAQUE.map((directory) => `${top}/${directory}/.wh..wh..opq`),
  ];
  const layout = newLayout(setting, "whiteouts");
  finishLayout(layout, [putLayer(layout, buildTar(entries.map((name) => ({ name }))))]);
  return `oci:${layout}:${TAG}`;
}

function whiteoutOf(path: ByteString): ByteString {
  const slash = path.lastIndexOf("/");
  return `${path.slice(0, slash + 1)}.wh.${path.slice(slash + 1)}`;
}
