import assert from "node:assert/strict";
import { test } from "node:test";
import { SLOT_WORDS, SlotTable, TABLE_HEAD_WORDS } from "./index.ts";

const CAPACITY = 4;

function make() {
  const words = new Int32Array(TABLE_HEAD_WORDS + (CAPACITY + 1) * SLOT_WORDS);
  const layout = { words, head: 0, first: TABLE_HEAD_WORDS, slotWords: SLOT_WORDS, capacity: CAPACITY };
  const closed: number[] = [];
  const table: SlotTable = new SlotTable(layout, (slot) => {
    closed.push(slot);
    table.recycle(slot);
  });
  const add = () => {
    const slot = table.allocate();
    if (slot !== 0) table.publish(slot);
    return slot;
  };
  return { layout, table, closed, add };
}

test("a slot is closed at once when nobody uses it, else by the last who does", () => {
  const { table, closed, add } = make();
  const [a, b] = [add(), add()];
  assert.ok(table.retire(a));
  assert.deepEqual(closed, [a]);
  const id = table.idOf(b);
  assert.equal(table.pin(id), b);
  assert.equal(table.pin(id), b);
  assert.ok(table.retire(b));
  assert.ok(!table.retire(b), "once");
  assert.equal(table.pin(id), 0, "nobody new");
  table.unpin(b);
  assert.deepEqual(closed, [a]);
  table.unpin(b);
  assert.deepEqual(closed, [a, b]);
  assert.equal(table.used, 0);
});

test("an ID is good for one life of its slot", () => {
  const { table, add } = make();
  const slot = add();
  const id = table.idOf(slot);
  table.retire(slot);
  assert.equal(add(), slot, "the slot is used again");
  assert.equal(table.pin(id), 0);
  assert.notEqual(table.idOf(slot), id);
  for (const wrong of [0, -1, CAPACITY + 1, 2 ** 32, 2 ** 52, 0.5]) assert.equal(table.pin(wrong), 0, `${wrong}`);
  assert.ok(!table.isPinned(slot), "a wrong ID leaves no pin");
});

test("a slot that is not published is not found; a full table says so", () => {
  const { table, add } = make();
  const slot = table.allocate();
  assert.equal(table.pin(table.idOf(slot)), 0);
  for (let i = 1; i < CAPACITY; i++) assert.notEqual(add(), 0);
  assert.equal(table.allocate(), 0);
});

test("after a crash pins are gone, and slots that were half made or dying are free", () => {
  const { layout, table, add } = make();
  const [live, dying] = [add(), add()];
  const unpublished = table.allocate();
  const id = table.idOf(live);
  table.pin(id);
  table.pin(table.idOf(dying));
  table.retire(dying);
  const next = new SlotTable(layout, () => {});
  next.recover();
  assert.equal(next.used, 1);
  assert.ok(!next.isPinned(live));
  assert.equal(next.pin(id), live);
  assert.deepEqual([next.allocate(), next.allocate()].sort(), [dying, unpublished]);
});
