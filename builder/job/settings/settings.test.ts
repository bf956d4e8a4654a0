import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { formatPlatform } from "../../../formats/oci/index.ts";
import { tempDir } from "../../testkit/index.ts";
import { globMatcher } from "./glob.ts";
import { parseJobSettings, readJobSettings, ruleFor } from "./index.ts";

for (const [pattern, name, fits] of [
  ["team/*", "team/app", true],
  ["team/*", "team/a/b", false],
  ["team/**", "team/a/b", true],
  ["**", "anything/at/all", true],
  ["*", "a/b", false],
  ["v?.*", "v1.2", true],
  ["v?.*", "v10.2", false],
  ["a.b", "axb", false],
  ["(a+)+$", "aaaa", false],
  ["library/app", "library/app2", false],
] as const)
  test(`${pattern} ${fits ? "fits" : "does not fit"} ${name}`, () => assert.equal(globMatcher(pattern)(name), fits));

test("the longest pattern of wildcards is quick on a hostile name; a longer one is refused", () => {
  const startMs = performance.now();
  assert.ok(!globMatcher("*a".repeat(128))("a".repeat(255).concat("/")));
  assert.ok(!globMatcher("**a".repeat(85))(`${"a".repeat(254)}b`));
  assert.ok(performance.now() - startMs < 1000);
  assert.throws(() => globMatcher("x".repeat(257)), /256 characters/);
});

const settings = (value: object) => parseJobSettings(Buffer.from(JSON.stringify(value)));

test("the first rule that fits decides; none means leave alone", () => {
  const { rules } = settings({
    rules: [
      { repository: "scratch/**", convert: false },
      { repository: "team/*", tag: "v*", platforms: ["amd64", "linux/arm64/v8"] },
    ],
  });
  assert.equal(ruleFor(rules, "scratch/x/y", "1")?.convert, false);
  assert.deepEqual(ruleFor(rules, "team/app", "v1")?.platforms.map(formatPlatform), ["linux/amd64", "linux/arm64"]);
  assert.equal(ruleFor(rules, "team/app", "1"), undefined);
});

test("without settings everything is converted, with moderate limits", () => {
  const { rules, form, verity, targetTag, retryLimit, timeoutSeconds } = settings({});
  assert.equal(ruleFor(rules, "a/b", "c")?.convert, true);
  assert.deepEqual([form, verity, targetTag, retryLimit, timeoutSeconds], ["tag", false, undefined, 4, 3600]);
  assert.equal(settings({ form: "index", targetTag: "{tag}" }).targetTag, "{tag}");
  assert.equal(settings({ rules: [{ form: "referrer" }] }).rules[0]?.form, "referrer");
  const { verity: trees, rules: some } = settings({ verity: true, rules: [{ verity: false }, {}] });
  assert.deepEqual([trees, some.map((rule) => rule.verity)], [true, [false, undefined]]);
});

for (const [value, message] of [
  [{ registries: [{ name: "http://registry.lan" }] }, /registries.*expected a host/],
  [{ registries: [{}] }, /name: found nothing/],
  [{ rules: [{ platforms: ["li nux"] }] }, /platforms\[0\].*expected os\/architecture/],
  [{ rules: [{ repository: "" }] }, /rules\[0\]: pattern ""/],
  [{ targetTag: "{tag}" }, /something beside/],
  [{ form: "heap" }, /form: found "heap", expected tag, index or referrer/],
  [{ rules: [{ form: 1 }] }, /rules\[0\]\.form/],
  [{ verity: "yes" }, /verity: found "yes"/],
  [{ targetTag: "erofs" }, /with \{tag\} in it/],
  [{ timeoutSeconds: "1h" }, /timeoutSeconds: found "1h"/],
  [{ retries: { limit: 1000 } }, /retries\.limit/],
] as const)
  test(`settings ${JSON.stringify(value)} are refused`, () => assert.throws(() => settings(value), message));

test("a settings file: registries of both places; errors name the file", async (t) => {
  const file = join(tempDir(t), "job.json");
  writeFileSync(file, '{"registries": [{"name": "harbor.lan", "aliases": ["core:8080"]}]}');
  const { registries } = await readJobSettings(file, ["registry.lan:5000"]);
  assert.deepEqual(registries, [
    { name: "registry.lan:5000", aliases: [] },
    { name: "harbor.lan", aliases: ["core:8080"] },
  ]);
  writeFileSync(file, "{");
  await assert.rejects(readJobSettings(file, []), { message: new RegExp(`^${file}: .*is not JSON`) });
  await assert.rejects(readJobSettings(`${file}.absent`, []), { message: /ENOENT/ });
  await assert.rejects(readJobSettings(undefined, []), { message: /no registry is named/ });
});
