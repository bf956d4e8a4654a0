/**
 * What a request costs the server, without a guest: a front-end of our own speaks FUSE to it over a virtqueue, so that
 * neither emulation nor a guest's kernel take part.
 */
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Call, fill } from "../../blobd/fuse/testing/index.ts";
import { TestGuest } from "../../blobd/virtiofs/testing-guest.ts";
import { startVolume } from "../../builder/guestkit/index.ts";
import { EntryOut, GetattrIn, Opcode, OpenIn, OpenOut, ReadIn, ReleaseIn, WriteIn } from "../../formats/fuse/index.ts";
import { type Spread, spread } from "../kit/index.ts";
import { CASES, type Case, type CaseId } from "./case.ts";

/** Requests under way at a time. */
export const DEPTH = 16;
const REQUESTS = 10_000;
const WARM_UP = 3000;
const ROUNDS = 3;
const PAGE_BYTES = 4096;
const MEMORY_BYTES = 16 << 20;
const O_RDWR = 2;

export interface RequestCost {
  readonly server: CaseId;
  readonly request: string;
  /** Processor time of the server's threads for one, in microseconds. */
  readonly microseconds: Spread;
}

/** Measures the servers in turn. */
export async function measureRequests(work: string): Promise<RequestCost[]> {
  const servers = CASES.filter(({ id }) => id === "virtiofsd" || id === "blobd");
  const found = new Map<string, { server: CaseId; request: string; values: number[] }>();
  for (let round = 0; round < ROUNDS; round++)
    for (const server of servers)
      for (const [request, microseconds] of await measureServer(server, join(work, `requests-${round}-${server.id}`))) {
        const key = `${server.id} ${request}`;
        const cost = found.get(key) ?? { server: server.id, request, values: [] };
        cost.values.push(microseconds);
        found.set(key, cost);
      }
  return [...found.values()].map(({ values, ...cost }) => ({ ...cost, microseconds: spread(values) }));
}

async function measureServer(server: Case, work: string): Promise<[string, number][]> {
  const folder = join(work, "folder");
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "file"), Buffer.alloc(1 << 20));
  const volume = await startVolume(server.volume!, { folder, work, name: "requests" });
  try {
    const guest = await TestGuest.connect(volume.socketPath, MEMORY_BYTES);
    await guest.init();
    const costs: [string, number][] = [];
    for (const [name, ask] of Object.entries(await requestsOf(guest))) {
      await askMany(ask, WARM_UP);
      const before = await threadNanoseconds(volume.pids());
      await askMany(ask, REQUESTS);
      costs.push([name, ((await threadNanoseconds(volume.pids())) - before) / 1000 / REQUESTS]);
    }
    await guest.close();
    return costs;
  } finally {
    await volume.stop();
  }
}

async function requestsOf(guest: TestGuest): Promise<Record<string, () => Promise<void>>> {
  const call = async (opcode: number, call: Call) => {
    const { error, body } = await guest.call(opcode, call);
    if (error !== 0) throw new Error(`opcode ${opcode}: error ${-error}`);
    return body;
  };
  const lookup = () => call(Opcode.LOOKUP, { names: ["file"] });
  const nodeId = EntryOut.view(await lookup()).nodeid;
  const open = async (flags: number) =>
    OpenOut.view(await call(Opcode.OPEN, { nodeId, args: fill(OpenIn, { flags }) })).fh;
  const fh = await open(O_RDWR);
  const data = Buffer.alloc(PAGE_BYTES, 1);
  const read = { nodeId, args: fill(ReadIn, { fh, size: PAGE_BYTES }), limit: PAGE_BYTES };
  const write = { nodeId, args: fill(WriteIn, { fh, size: PAGE_BYTES }), data };
  return {
    GETATTR: async () => void (await call(Opcode.GETATTR, { nodeId, args: fill(GetattrIn, {}) })),
    LOOKUP: async () => void (await lookup()),
    "READ, 4 KiB": async () => void (await call(Opcode.READ, read)),
    "WRITE, 4 KiB": async () => void (await call(Opcode.WRITE, write)),
    "OPEN and RELEASE": async () => {
      await call(Opcode.RELEASE, { nodeId, args: fill(ReleaseIn, { fh: await open(0) }) });
    },
  };
}

async function askMany(ask: () => Promise<void>, count: number): Promise<void> {
  let asked = 0;
  const one = async () => {
    while (asked++ < count) await ask();
  };
  await Promise.all(Array.from({ length: DEPTH }, one));
}

/** Processor time of all threads of processes, in nanoseconds: the first field of schedstat. Linux sched-stats.rst. */
async function threadNanoseconds(pids: readonly number[]): Promise<number> {
  let sum = 0;
  for (const pid of pids)
    for (const thread of await readdir(`/proc/${pid}/task`))
      sum += Number((await readFile(`/proc/${pid}/task/${thread}/schedstat`, "utf8")).split(" ", 1)[0]);
  return sum;
}
