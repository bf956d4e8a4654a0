import assert from "node:assert/strict";
import { test } from "node:test";
import { Dirent, direntBytes, EntryOut, Opcode, ReadIn } from "../../formats/fuse/index.ts";
import { fill, MemoryFileSystem, TestClient } from "./testing/index.ts";

const names = Array.from({ length: 300 }, (_, i) => `${"n".repeat(1 + (i % 40))}${i}`);

function listed(plus: boolean, size: number): string[] {
  const client = new TestClient(new MemoryFileSystem());
  client.init();
  for (const name of names) client.call(Opcode.MKNOD, { args: new Uint8Array(16), names: [name] });
  const found: string[] = [];
  for (let offset = 0; ; ) {
    const args = fill(ReadIn, { size, offset });
    assert.equal(client.call(plus ? Opcode.READDIRPLUS : Opcode.READDIR, { args }), 0);
    const { reply } = client;
    assert.ok(reply.length <= size);
    if (reply.length === 0) return found;
    for (let at = 0; at < reply.length; ) {
      if (plus) {
        assert.ok(reply.subarray(at, at + EntryOut.size).every((byte) => byte === 0));
        at += EntryOut.size;
      }
      const { namelen, off } = Dirent.view(reply, at);
      const end = at + direntBytes(namelen);
      found.push(reply.toString("latin1", at + Dirent.size, at + Dirent.size + namelen));
      assert.ok(
        reply.subarray(at + Dirent.size + namelen, end).every((byte) => byte === 0),
        "padding",
      );
      offset = Number(off);
      at = end;
    }
  }
}

test("a directory read in small pieces comes complete and in order", () => {
  for (const size of [80, 4096, 1 << 20]) assert.deepEqual(listed(false, size), names);
  for (const size of [256, 4096, 1 << 20]) assert.deepEqual(listed(true, size), names);
});
