import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { Random } from "../../formats/bytes/testing.ts";
import { parseSource } from "../names/index.ts";
import { buildTar, run, tempDir, writeOciLayout } from "../testkit/index.ts";
import { openLayer, releaseImage, resolveImage, SourceError } from "./index.ts";

const SEED = 20261125;
const RUNS = 500;

/** Offsets of the bytes that are no layer data: headers, documents, and the first blocks of everything else. */
function interesting(archive: Buffer): number[] {
  const offsets: number[] = [];
  for (let at = 0; at < archive.length; at += 512) {
    const block = archive.subarray(at, at + 512);
    const isHeader = block.subarray(257, 262).toString() === "ustar";
    if (isHeader || block[0] === 0x7b || block[0] === 0x5b) for (let i = 0; i < block.length; i++) offsets.push(at + i);
  }
  return offsets;
}

test("damaged image archives are read rightly or refused with a SourceError", async () => {
  const dir = tempDir();
  const tars = ["one", "two"].map((name) => buildTar([{ name, content: name }]));
  await writeOciLayout(join(dir, "edge"), "edge", tars, { Cmd: ["x"], Labels: { a: "b" } });
  const random = new Random(SEED);
  for (const kind of ["docker-archive", "oci-archive"]) {
    const whole = join(dir, `${kind}.tar`);
    await run("skopeo", [
      "--insecure-policy",
      "copy",
      "--quiet",
      `oci:${join(dir, "edge")}:edge`,
      `${kind}:${whole}:edge:1`,
    ]);
    const bytes = readFileSync(whole);
    const targets = interesting(bytes);
    const outcomes = new Map<string, number>();
    for (let i = 0; i < RUNS; i++) {
      const damaged = Buffer.from(bytes);
      for (let flips = 1 + random.below(3); flips > 0; flips--)
        damaged[targets[random.below(targets.length)]!] = random.below(256);
      const cut = random.below(8) === 0 ? damaged.subarray(0, random.below(damaged.length)) : damaged;
      const file = join(dir, `damaged-${kind}`);
      writeFileSync(file, random.below(10) === 0 ? gzipSync(cut, { level: 1 }) : cut);
      const outcome = await tryToRead(`${kind}:${file}`);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    assert.ok(outcomes.size > 2, `too few outcomes: ${[...outcomes]}`);
  }
});

async function tryToRead(text: string): Promise<string> {
  try {
    const image = await resolveImage(parseSource(text));
    try {
      for (const layer of image.layers.slice(0, 2)) for await (const _ of openLayer(image, layer));
    } finally {
      releaseImage(image);
    }
    return "whole";
  } catch (error) {
    assert.ok(error instanceof SourceError, (error as Error).stack);
    return error.code;
  }
}
