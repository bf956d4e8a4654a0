import { test } from "node:test";
import fc from "fast-check";
import { FormatError } from "../../../formats/bytes/index.ts";
import { DocumentError } from "../../../formats/oci/index.ts";
import { parseDistributionNotification, parseHarborNotification } from "./index.ts";

// Whatever is sent: an answer, or an error that says what is wrong with the document.

function onlyTypedErrors(parse: () => unknown): void {
  try {
    parse();
  } catch (error) {
    if (!(error instanceof DocumentError || error instanceof FormatError)) throw error;
  }
}

const word = fc.constantFrom(
  "push",
  "PUSH_ARTIFACT",
  "harbor.artifact.pushed",
  "application/vnd.oci.image.manifest.v1+json",
  "registry.lan/a/b:1",
  "a/b",
  `sha256:${"0".repeat(64)}`,
  "",
  "__proto__",
);
const value = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    word,
    fc.jsonValue({ maxDepth: 1 }),
    tie("object"),
    fc.array(tie("value"), { maxLength: 3 }),
  ),
  object: fc.dictionary(
    fc.constantFrom(
      ...["type", "event_data", "data", "resources", "resource_url", "digest", "tag", "events", "action", "target"],
      ...["mediaType", "repository", "request", "host", "url", "useragent"],
    ),
    tie("value"),
    { maxKeys: 6 },
  ),
})).object;

for (const [name, parse] of [
  ["distribution", parseDistributionNotification],
  ["harbor", parseHarborNotification],
] as const) {
  test(`${name}: documents of the right words in any order`, () =>
    fc.assert(
      fc.property(value, (document) => onlyTypedErrors(() => parse(Buffer.from(JSON.stringify(document))))),
      { numRuns: 3000 },
    ));
  test(`${name}: any bytes`, () =>
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (body) => onlyTypedErrors(() => parse(body)))));
}
