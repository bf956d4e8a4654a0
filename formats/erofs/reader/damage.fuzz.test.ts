import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../bytes/testing.ts";
import { writeErofs } from "../writer/index.ts";
import { damage } from "./damage.ts";
import { exercise } from "./exercise.ts";
import { randomTree } from "./random-tree.ts";

const IMAGES = [3, 14, 159, 2653].map((seed) =>
  Buffer.from(writeErofs(randomTree(seed, 150), { layout: "devices" }).meta),
);

test("the images are sound before they are damaged", () => {
  for (const image of IMAGES) assert.ok(exercise(image));
});

test("flipped bytes cause typed errors only, in bounded time", () => {
  let read = 0;
  for (let seed = 0; seed < 600; seed++) {
    const image = Buffer.from(IMAGES[seed % IMAGES.length]!);
    damage(image, new Random(seed));
    try {
      if (exercise(image)) read++;
    } catch (cause) {
      throw new Error(`seed ${seed}`, { cause });
    }
  }
  assert.ok(read > 0 && read < 600, `some damage shows and some does not (${read} of 600 read)`);
});

test("cut images cause typed errors only", () => {
  for (const image of IMAGES)
    for (let length = 0; length < image.length; length += 1 + Math.floor(image.length / 40))
      assert.equal(exercise(image.subarray(0, length)), false, `cut to ${length} of ${image.length}`);
});

test("random bytes behind a right magic cause typed errors only", () => {
  for (let seed = 0; seed < 100; seed++) {
    const random = new Random(seed);
    const image = Buffer.from(IMAGES[0]!);
    for (let at = 1152; at < image.length; at++) image[at] = random.below(256);
    exercise(image);
  }
});
