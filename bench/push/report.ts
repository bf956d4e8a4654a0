import { type BarChart, disturbedOf, drawCharts, type Report, type Rows, type Section, where } from "../kit/index.ts";
import type { JobsResult } from "./jobs.ts";
import type { Results } from "./results.ts";
import { isMet, targetsOf } from "./targets.ts";
import { FORM, type ImageResult } from "./throughput.ts";
import type { TreeResult } from "./trees.ts";
import type { VersionResult } from "./versions.ts";

const mb = (bytes: number) => (bytes / 1e6).toFixed(1);

/** The results as tables and a picture. */
export function reportOf(results: Results): Report {
  return { headLine: headLine(results), sections: sectionsOf(results), svg: drawReport(results) };
}

/** The results as a picture (SVG). */
function drawReport({ images = [], versions }: Results): string {
  const charts = images.map((image): BarChart => {
    const sized = image.forms.filter(({ bytes, name }) => bytes !== undefined && name !== FORM.again);
    return {
      title: `Size of ${image.name}`,
      unit: "MB",
      digits: 0,
      bars: sized.map(({ name, kind, bytes }) => ({
        label: name.replace(", converted before", ""),
        kind,
        value: bytes! / 1e6,
      })),
      mark: { value: image.tarBytes / 1e6, label: "the tar.gz" },
    };
  });
  if (versions !== undefined)
    charts.push({
      title: "What each of five versions adds to the registry, with the one before as a dictionary",
      unit: "MB",
      digits: 1,
      bars: versions.map(({ version, addedWithDictionaryBytes }) => ({
        label: `version ${version}`,
        kind: "ours",
        value: addedWithDictionaryBytes / 1e6,
      })),
    });
  return drawCharts(charts, "Images in a registry; shorter bars are better");
}

function sectionsOf(results: Results): Section[] {
  const { images = [], versions, jobs, trees } = results;
  return [
    ...images.map((image) => ({ title: `Pushed: ${image.name}`, rows: imageRows(image) })),
    ...(versions
      ? [{ title: "Five versions of one image, one of 20 files changed with each", rows: versionRows(versions) }]
      : []),
    ...(jobs ? [{ title: "The conversion job", rows: jobRows(jobs) }] : []),
    ...(trees ? [{ title: "Hash trees (dm-verity)", rows: treeRows(trees) }] : []),
    { title: "What was wanted of images in registries", rows: targetRows(results) },
  ];
}

function imageRows(image: ImageResult): Rows {
  const rate = (seconds: number) => (image.contentBytes / 1e6 / seconds).toFixed(0);
  return [
    ["", "s", "cpu s", "MB/s of content", "MB", "of the tar.gz"],
    ...image.forms.map(({ name, seconds, cpuSeconds, bytes }) => [
      name,
      seconds.toFixed(2),
      cpuSeconds.toFixed(2),
      rate(seconds),
      bytes === undefined ? "" : mb(bytes),
      bytes === undefined ? "" : (bytes / image.tarBytes).toFixed(2),
    ]),
  ];
}

function versionRows(versions: readonly VersionResult[]): Rows {
  const sum = (of: (version: VersionResult) => number) => mb(versions.reduce((total, one) => total + of(one), 0));
  return [
    [
      "",
      "files changed",
      "their MB",
      "as tar.zst",
      "tar.gz",
      "pushed alone",
      "pushed with --dict",
      "in the store",
      "s",
    ],
    ...versions.map((one) => [
      `version ${one.version}`,
      String(one.changedFiles),
      mb(one.changedBytes),
      mb(one.changedPackedBytes),
      mb(one.tarBytes),
      mb(one.addedBytes),
      mb(one.addedWithDictionaryBytes),
      mb(one.storeBytes),
      one.seconds.toFixed(2),
    ]),
    [
      "all",
      "",
      "",
      "",
      sum(({ tarBytes }) => tarBytes),
      sum(({ addedBytes }) => addedBytes),
      sum(({ addedWithDictionaryBytes }) => addedWithDictionaryBytes),
      sum(({ storeBytes }) => storeBytes),
      "",
    ],
  ];
}

function jobRows(jobs: JobsResult): Rows {
  const { images, imageBytes, perMinute, endToEnd, convert, push } = jobs;
  return [
    ["", "found"],
    ...perMinute.map(({ workers, value }) => [
      `conversions a minute, ${images} images of ${mb(imageBytes)} MB pushed at once, ${workers} worker${workers === 1 ? "" : "s"}`,
      value.toFixed(0),
    ]),
    ["three-layer image: from its push to the converted form, s", endToEnd.toFixed(2)],
    ["the same by hand: erofsify, then erofsify push, s", `${convert.toFixed(2)} + ${push.toFixed(2)}`],
  ];
}

function treeRows({ bytes, ours, veritysetup, convert, convertVerity }: TreeResult): Rows {
  const rate = (seconds: number) => `${(bytes / 1e6 / seconds).toFixed(0)} MB/s`;
  return [
    [`over ${mb(bytes)} MB`, "s", ""],
    ["erofsify, one process, root only", ours.toFixed(2), rate(ours)],
    ["veritysetup format", veritysetup.toFixed(2), rate(veritysetup)],
    ["conversion of linux-source without trees", convert.toFixed(2), ""],
    ["with them", convertVerity.toFixed(2), ""],
  ];
}

function targetRows(results: Results): Rows {
  return [
    ["", "wanted", "found", ""],
    ...targetsOf(results).map((target) => [
      target.wanted,
      `≤ ${target.limit.toFixed(2)} ×`,
      `${target.value.toFixed(2)} ×`,
      isMet(target) ? "met" : "missed",
    ]),
  ];
}

function headLine({ machine, dates, images = [], versions, jobs, trees }: Results): string {
  const measured = [
    ...images.flatMap(({ forms }) => forms),
    ...(jobs ? [jobs, ...jobs.perMinute] : []),
    ...(trees ? [trees] : []),
  ];
  const days = new Set(Object.values(dates).map((date) => date.slice(0, 10)));
  const what = `measurements${versions ? " beside the versions'" : ""}`;
  return `${[...days].join(", ")}, one round; ${where(machine)}. ${disturbedOf(what, measured)}`;
}
