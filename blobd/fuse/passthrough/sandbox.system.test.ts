import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { SetattrFlag } from "../../../formats/fuse/index.ts";
import {
  closePassthroughShared,
  createPassthroughShared,
  openPassthrough,
  type PassthroughConfig,
  type PassthroughShared,
} from "./index.ts";
import { Client } from "./testing.ts";

const { O_RDWR, O_CREAT, O_RDONLY } = constants;
const ROOT = 1;

if (isMainThread) runTests();
else confined(workerData as { config: PassthroughConfig; shared: PassthroughShared });

/** Works as ever, and finds nothing of the host. */
function confined({ config, shared }: { config: PassthroughConfig; shared: PassthroughShared }): void {
  const client = new Client(openPassthrough(config, shared));
  client.uid = 1000;
  client.gid = 1000;
  const made = client.create(ROOT, "made", O_RDWR | O_CREAT, 0o644);
  client.write(made.nodeId, made.fh, 0, Buffer.from("made"));
  client.setxattr(made.nodeId, "user.x", Buffer.from("y"));
  client.setattr(made.nodeId, SetattrFlag.MODE, { mode: 0o600 });
  client.setattr(made.nodeId, SetattrFlag.UID, { uid: 7 });
  client.uid = 0;
  client.gid = 0;
  const sub = client.lookup(ROOT, "sub").nodeId;
  const file = client.lookup(sub, "file").nodeId;
  const fh = client.open(file, O_RDONLY);
  assert.equal(client.read(file, fh, 0, 99).toString(), "inside");
  assert.deepEqual(client.list(ROOT, { plus: true }), ["made", "sub"]);
  client.rename(ROOT, "made", sub, "moved");

  // The thread's own calls on files, which Node.js makes in the thread.
  assert.deepEqual(readdirSync("/").sort(), ["sub"]);
  for (const path of ["/etc/passwd", "/proc/self/status", "/dev/null", config.source])
    assert.equal(existsSync(path), false, path);
  assert.throws(() => execFileSync("/bin/true"), "no program");
  parentPort!.postMessage("fine");
}

function runTests(): void {
  const work = mkdtempSync(join(tmpdir(), "passthrough-sandbox-"));
  after(() => rmSync(work, { recursive: true }));

  test("a confined thread serves, and sees nothing else", {
    skip: process.geteuid!() !== 0 && "needs root",
  }, async () => {
    const source = join(work, "export");
    mkdirSync(join(source, "sub"), { recursive: true });
    writeFileSync(join(source, "sub/file"), "inside");
    const config: PassthroughConfig = { source, sandbox: "thread" };
    const shared = createPassthroughShared(config);
    const answer = await new Promise((done, failed) => {
      const worker = new Worker(new URL(import.meta.url), { workerData: { config, shared } });
      worker.once("message", done).once("error", failed);
    });
    assert.equal(answer, "fine");
    const stat = statSync(join(source, "sub/moved"));
    assert.deepEqual([stat.uid, stat.gid, stat.mode & 0o777], [7, 1000, 0o600]);
    // The rest of the process is as free as before.
    assert.ok(existsSync("/etc/passwd"));
    execFileSync("true");
    await new Promise<void>((done) => {
      const server = createServer().listen(join(work, "socket"), () => server.close(() => done()));
    });
    assert.ok(readFileSync("/proc/self/mounts", "latin1").length > 0);
    closePassthroughShared(config, shared);
  });

  test("the main thread is not confined", () => {
    const config: PassthroughConfig = { source: work, sandbox: "thread" };
    const shared = createPassthroughShared(config);
    assert.throws(() => openPassthrough(config, shared), /main thread/);
    closePassthroughShared(config, shared);
  });
}
