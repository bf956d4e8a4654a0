import assert from "node:assert/strict";
import { test } from "node:test";
import * as virtio from "./index.ts";

test("a ring's parts have the sizes of the specification", () => {
  assert.equal(virtio.descTableBytes(256), 16 * 256);
  assert.equal(virtio.availRingBytes(256), 6 + 2 * 256);
  assert.equal(virtio.usedRingBytes(256), 6 + 8 * 256);
  assert.equal(virtio.usedEventAt(256), 4 + 2 * 256);
  assert.equal(virtio.availEventAt(256), 4 + 8 * 256);
  assert.deepEqual([virtio.Desc.at.len, virtio.Desc.at.flags, virtio.Desc.at.next], [8, 12, 14]);
});

test("queue sizes are powers of two up to 32768", () => {
  for (const size of [1, 2, 1024, 32768]) assert.ok(virtio.isQueueSize(size));
  for (const size of [0, -1, 3, 1.5, 1023, 65536, Number.NaN]) assert.ok(!virtio.isQueueSize(size));
});

test("an event is needed just when the index passes it", () => {
  // By the definition, walked: an entry with index `event` was added between old and now.
  for (const start of [0, 5, 65530])
    for (let added = 0; added < 12; added++)
      for (let offset = -3; offset < 15; offset++) {
        const event = (start + offset) & 0xffff;
        const now = (start + added) & 0xffff;
        const expected = offset >= 0 && offset < added;
        assert.equal(virtio.needEvent(event, now, start), expected, `event ${event}, ${start} to ${now}`);
      }
});

test("a file system's configuration space", () => {
  const bytes = virtio.fsConfig("täg", 3);
  assert.equal(bytes.length, 44);
  assert.equal(Buffer.from(bytes).toString("utf8", 0, 4), "täg");
  assert.equal(bytes[36], 3);
  assert.equal(virtio.fsConfig("x".repeat(36), 1)[35], 0x78);
  for (const tag of ["", "x".repeat(37), "ä".repeat(19), "a\0b"])
    assert.throws(() => virtio.fsConfig(tag, 1), RangeError);
});
