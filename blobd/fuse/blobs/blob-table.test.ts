import assert from "node:assert/strict";
import { test } from "node:test";
import type { SharedBlob } from "../../store/index.ts";
import { BlobTable, NAME_BYTES } from "./blob-table.ts";

const blob: SharedBlob = { size: 4096, chunks: 1, fd: -1, directFd: -1, statesAddress: 0, offsetsAddress: 0 };
const nameOf = (letter: string) => letter.repeat(NAME_BYTES);

test("what was given up counts who has it open until they close it, and its place is used again then", () => {
  const table = new BlobTable();
  const index = table.add(nameOf("a"), blob);
  const nodeId = table.nodeId(index);
  assert.ok(table.open(index));
  assert.ok(table.use(index), "by a process that dies then");
  table.giveUp(index);
  assert.equal(table.indexOf(nodeId), -1);
  assert.equal(table.placeOf(nodeId), index);
  const other = table.add(nameOf("b"), blob);
  assert.notEqual(other, index, "somebody still has the place open");

  table.release(table.placeOf(nodeId));
  const again = table.add(nameOf("c"), blob);
  assert.equal(again, index);
  assert.notEqual(table.nodeId(again), nodeId);
  assert.equal(table.placeOf(nodeId), -1, "the node of before is none any more");
  assert.ok(table.remove(again), "nobody uses it: the dead process's use ended with it");
});
