import assert from "node:assert/strict";
import { test } from "node:test";
import { formatPlatform, normalPlatform, parsePlatform, platformFit } from "./index.ts";

for (const [text, normal] of [
  ["linux/amd64", "linux/amd64"],
  ["x86_64", "linux/amd64"],
  ["x64", "linux/amd64"],
  ["Linux/AMD64", "linux/amd64"],
  ["linux/amd64/v1", "linux/amd64"],
  ["linux/amd64/v3", "linux/amd64/v3"],
  ["linux/arm64/v8", "linux/arm64"],
  ["aarch64", "linux/arm64"],
  ["linux/arm", "linux/arm"],
  ["armhf", "linux/arm/v7"],
  ["linux/arm/7", "linux/arm/v7"],
  ["windows/amd64", "windows/amd64"],
  ["riscv64", "linux/riscv64"],
] as const)
  test(`platform ${text} is ${normal}`, () => {
    assert.equal(formatPlatform(normalPlatform(parsePlatform(text))), normal);
  });

for (const text of ["", "/", "linux/", "linux/amd64/v1/x", "a b", "linux/amd64/../x"])
  test(`platform ${JSON.stringify(text)} is refused`, () => {
    assert.throws(() => parsePlatform(text), { name: "FormatError", message: /linux\/arm64/ });
  });

for (const [offered, wanted, fits] of [
  ["linux/amd64", "linux/amd64", true],
  ["linux/amd64", "linux/arm64", false],
  ["windows/amd64", "linux/amd64", false],
  ["linux/arm64/v8", "linux/arm64", true],
  ["linux/arm/v6", "linux/arm/v7", true],
  ["linux/arm/v6", "linux/arm", true],
  ["linux/arm/v7", "linux/arm/v6", false],
  ["linux/amd64/v3", "linux/amd64", false],
  ["linux/amd64/v2", "linux/amd64/v3", true],
  ["linux/mips64le/softfloat", "linux/mips64le", false],
] as const)
  test(`an image for ${offered} ${fits ? "suits" : "does not suit"} ${wanted}`, () => {
    assert.equal(platformFit(parsePlatform(offered), parsePlatform(wanted)) > 0, fits);
  });

test("the nearest variant fits best", () => {
  const fit = (v: string) => platformFit(parsePlatform(`linux/arm/${v}`), parsePlatform("linux/arm/v7"));
  assert.ok(fit("v7") > fit("v6") && fit("v6") > fit("v5"));
});
