import assert from "node:assert/strict";
import { test } from "node:test";
import { VmError } from "../errors.ts";
import { resolveUser } from "./accounts.ts";

const accounts = {
  passwd: [
    "root:x:0:0:root:/root:/bin/sh",
    "# a comment",
    "app:x:1000:1001:App,,,:/home/app:/bin/sh",
    "123:x:77:78::/home/numeric:",
    "broken:x:abc:0::/:",
    "toolarge:x:4294967295:0::/:",
    "homeless:x:1002:1002:::",
    "",
  ].join("\n"),
  group: ["root:x:0:", "app:x:1001:", "disk:x:6:app,root", "wheel:x:10:root,app,other", "dup:x:6:app", "45:x:46:"].join(
    "\n",
  ),
};

const cases: [spec: string, uid: number, gid: number, groups: number[], home: string, why: string][] = [
  ["", 0, 0, [6, 10], "/root", "nothing is root, with root's groups"],
  ["root", 0, 0, [6, 10], "/root", "a name"],
  ["app", 1000, 1001, [6, 10], "/home/app", "the user's own group, and those that list the user, each once"],
  ["1000", 1000, 1001, [6, 10], "/home/app", "a number that the image knows is that user"],
  ["4000", 4000, 0, [], "/", "a number that the image does not know"],
  ["123", 77, 78, [], "/home/numeric", "a name of digits is a name first"],
  ["app:disk", 1000, 6, [], "/home/app", "a group by name: no others"],
  ["app:4444", 1000, 4444, [], "/home/app", "a group by number, known or not"],
  ["app:45", 1000, 46, [], "/home/app", "a group's name of digits"],
  [":disk", 0, 6, [], "/root", "only a group"],
  ["app:", 1000, 1001, [6, 10], "/home/app", "an empty group is none"],
  ["homeless", 1002, 1002, [], "/", "no home is /"],
  ["4294967294", 4294967294, 0, [], "/", "the largest id"],
];
for (const [spec, uid, gid, groups, home, why] of cases)
  test(`user ${JSON.stringify(spec)}: ${why}`, () => {
    const found = resolveUser(spec, accounts);
    assert.deepEqual({ ...found, groups: [...found.groups] }, { ...found, uid, gid, groups, home });
  });

for (const [spec, message] of [
  ["nobody", /no user "nobody" in the image's \/etc\/passwd/],
  ["broken", /no user/],
  ["4294967295", /no user/],
  ["-1", /no user/],
  ["0x10", /no user/],
  ["app:nogroup", /no group "nogroup" in the image's \/etc\/group/],
  ["a:b:c", /expected user or user:group/],
] as const)
  test(`user ${JSON.stringify(spec)} is refused`, () => {
    assert.throws(
      () => resolveUser(spec, accounts),
      (error: unknown) => error instanceof VmError && error.code === "ERR_NO_USER" && message.test(error.message),
    );
  });

test("an image without the two files has numbers only", () => {
  const none = { passwd: "", group: "" };
  assert.equal(resolveUser("", none).uid, 0);
  assert.equal(resolveUser("5:6", none).gid, 6);
  assert.throws(() => resolveUser("root", none), VmError);
});
