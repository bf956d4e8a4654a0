import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError } from "../../formats/bytes/index.ts";
import { FuseRequest, findGroups, securityContexts } from "./index.ts";

const u32 = (...values: number[]) => Buffer.from(new Uint32Array(values).buffer);
const padded = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc((8 - (bytes.length % 8)) % 8)]);
const GROUPS = padded(Buffer.concat([u32(20, 32, 2), u32(1000, 1001)]));
const CONTEXT = Buffer.concat([u32(5, 0), Buffer.from("security.selinux\0"), Buffer.from("a:b:c")]);
const CONTEXTS = padded(Buffer.concat([u32(8 + padded(CONTEXT).length, 1), padded(CONTEXT)]));

function requestWith(extensions: Buffer): FuseRequest {
  const request = new FuseRequest();
  request.extensionsAt = 61; // After a name of whatever length: nothing says that extensions are aligned.
  request.inputBytes = 61 + extensions.length;
  request.input.bytes.set(extensions, 61);
  return request;
}

test("groups and security contexts are found in either order", () => {
  for (const order of [
    [GROUPS, CONTEXTS],
    [CONTEXTS, GROUPS],
  ]) {
    const request = requestWith(Buffer.concat(order));
    const at = findGroups(request);
    assert.deepEqual(
      [0, 4, 8].map((i) => request.in.getUint32(at + i, true)),
      [2, 1000, 1001],
    );
    const [context, ...others] = securityContexts(request);
    assert.ok(context !== undefined && others.length === 0);
    const text = (from: number, bytes: number) => request.input.bytes.toString("latin1", from, from + bytes);
    assert.equal(text(context.nameAt, context.nameBytes), "security.selinux");
    assert.equal(text(context.valueAt, context.valueBytes), "a:b:c");
  }
});

test("no extensions, no groups", () => {
  assert.equal(findGroups(requestWith(Buffer.alloc(0))), -1);
  assert.deepEqual(securityContexts(requestWith(GROUPS)), []);
});

test("each changed byte is an error or gives something that lies inside", () => {
  const whole = Buffer.concat([GROUPS, CONTEXTS]);
  for (let at = 0; at < whole.length; at++)
    for (const value of [0, 1, 7, 8, 0x7f, 0xff]) {
      const changed = Buffer.from(whole);
      changed[at] = value;
      const request = requestWith(changed);
      try {
        const groups = findGroups(request);
        if (groups >= 0) assert.ok(groups + 4 + request.in.getUint32(groups, true) * 4 <= request.inputBytes);
        for (const { nameAt, valueAt, valueBytes } of securityContexts(request))
          assert.ok(nameAt < valueAt && valueAt + valueBytes <= request.inputBytes);
      } catch (error) {
        assert.ok(error instanceof FormatError, String(error));
      }
    }
});
