import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { unmount } from "../../sys/index.ts";
import { FuseMount, findFuseMount } from "../device/index.ts";
import { createPassthroughShared, type PassthroughConfig } from "./index.ts";

// passthroughfs on a real mount with several threads: what many programs do at once, against the directory itself.

const execute = promisify(execFile);
const sh = (script: string, ...args: string[]) =>
  execute("timeout", ["-s", "KILL", "60", "bash", "-euo", "pipefail", "-c", script, "bash", ...args], {
    maxBuffer: 1 << 26,
  }).then(({ stdout }) => stdout);
/** A tree with something in it: this project's own compiled files. */
const TREE = fileURLToPath(new URL("../..", import.meta.url));

async function mounted(t: TestContext, config: Partial<PassthroughConfig> = {}, threads = 4) {
  const directory = mkdtempSync(join(tmpdir(), "passthrough-"));
  const [source, target] = [join(directory, "source"), join(directory, "target")];
  mkdirSync(source);
  mkdirSync(target);
  const whole = { source, ...config };
  const log: string[] = [];
  const mount = await FuseMount.start({
    target,
    source,
    threads,
    log: (line) => log.push(line),
    fileSystem: {
      module: new URL("./index.js", import.meta.url).href,
      open: "openPassthrough",
      args: [whole, createPassthroughShared(whole)],
    },
  });
  t.after(async () => {
    if (findFuseMount(target) !== null) await mount.abort();
    if (findFuseMount(target) !== null) unmount(target, { lazy: true });
    rmSync(directory, { recursive: true });
    assert.deepEqual(log, []);
  });
  return { mount, source, target };
}

for (const [name, config] of Object.entries({
  "file handles, cache auto": {},
  "descriptors, cache never": { cache: "never", inodeFileHandles: "never" },
  "writeback, cache always": { cache: "always", writeback: true },
} satisfies Record<string, Partial<PassthroughConfig>>))
  test(`trees copied, compared, moved and removed by several programs at once: ${name}`, async (t) => {
    const { mount, source, target } = await mounted(t, config);
    await sh(
      `cd "$1"; for i in 1 2 3 4; do (cp -a "$2" tree$i; diff -r "$2" tree$i; mv tree$i moved$i; diff -r "$2" moved$i; tar c moved$i | tar t | wc -l > /dev/null) & pids="\${pids-} $!"; done
       for pid in $pids; do wait $pid; done
       rm -r moved2 moved3 & rm -r moved4 & wait; ls`,
      target,
      TREE,
    ).then((output) => assert.equal(output, "moved1\n"));
    await mount.unmount("fail");
    await sh(`diff -r "$1" "$2/moved1"`, TREE, source);
  });

test("a read-only directory read without opening, by programs: data, status, holes, sync", async (t) => {
  const { source, target } = await mounted(t, { readOnly: true, cache: "always", noOpen: true });
  await sh(`cp -a "$1" "$2/tree"; truncate -s 1M "$2/tree/hole"; echo end >>"$2/tree/hole"`, TREE, source);
  const output = await sh(
    `cd "$1"; diff -r "$2" tree && echo same; exec 3<tree/hole; stat -L -c %s /dev/fd/3; sync tree/hole && echo synced
     cp --sparse=always tree/hole /dev/stdout | cksum; cksum <"$2/hole"; tail -c 4 <&3; echo x >tree/new || echo refused`,
    target,
    join(source, "tree"),
  );
  const [sum] = (await sh(`cksum <"$1"`, join(source, "tree/hole"))).split("\n");
  assert.equal(output, `same\n1048580\nsynced\n${sum}\n${sum}\nend\nrefused\n`);
});

test("one file appended to by several programs, one written at different places", async (t) => {
  const { target } = await mounted(t);
  const output = await sh(
    `cd "$1"; for i in 1 2 3 4; do (for j in $(seq 200); do echo "line $i $j" >> log; done) & done
     for i in 0 1 2 3; do head -c 1048576 /dev/zero | tr '\\0' $i | dd of=parts bs=64k seek=$((i * 16)) conv=notrunc status=none & done
     wait; wc -l < log; sort -u log | wc -l; for i in 0 1 2 3; do tr -dc $i < parts | wc -c; done; wc -c < parts`,
    target,
  );
  assert.equal(output, `800\n800\n${"1048576\n".repeat(4)}4194304\n`);
});

test("names made and removed by several programs at once: whoever is first wins, nothing is left", async (t) => {
  const { source, target } = await mounted(t, {}, Math.max(2, availableParallelism()));
  const output = await sh(
    `cd "$1"; for i in 1 2 3 4; do (won=0; for j in $(seq 150); do mkdir d$j 2>/dev/null && won=$((won + 1)) || :; done; echo $won) & done
     wait; for i in 1 2 3 4; do rmdir d* 2>/dev/null & done; wait; ls | wc -l`,
    target,
  );
  const numbers = output.trim().split("\n").map(Number);
  assert.equal(numbers.pop(), 0);
  assert.equal(
    numbers.reduce((sum, each) => sum + each),
    150,
  );
  assert.deepEqual(readdirSync(source), []);
});

for (const [name, config] of Object.entries({
  "cache auto": {},
  "cache never": { cache: "never" },
  writeback: { cache: "always", writeback: true },
  "direct I/O": { directIo: true },
} satisfies Record<string, Partial<PassthroughConfig>>))
  test(`fio writes at random places and verifies, by several engines: ${name}`, async (t) => {
    const { target } = await mounted(t, config, 2);
    const engines = ["psync --direct=0", "psync --direct=1", "libaio --direct=1 --iodepth=16", "mmap --direct=0"];
    for (const engine of engines)
      await sh(
        `cd "$1"; fio --name=verify --filename=f --size=8M --rw=randwrite --bs=4k --verify=crc32c --verify_fatal=1 \\
           --do_verify=1 --minimal --ioengine=${engine} >/dev/null; rm f`,
        target,
      );
  });

test("locks that wait: given on, interrupted, and held against programs on the host", async (t) => {
  const { source, target } = await mounted(t, { flock: true, posixLocks: true }, 2);
  const output = await sh(
    `cd "$1"; touch f
     flock f sleep 2 & sleep 0.3; flock --nonblock f echo free || echo held
     timeout -s INT 0.3 flock f echo too-early || echo interrupted
     flock --nonblock "$2/f" echo free || echo "held on the host"
     flock f echo "given on"; wait
     flock "$2/f" sleep 0.7 & sleep 0.2; flock --nonblock f echo free || echo "held by the host"; flock f echo "given by the host"`,
    target,
    source,
  );
  assert.equal(output, "held\ninterrupted\nheld on the host\ngiven on\nheld by the host\ngiven by the host\n");
});
