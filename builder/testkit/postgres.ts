import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./free-port.ts";
import { run, startServer } from "./run.ts";

/** A PostgreSQL server of its own for a test. */
export interface Postgres {
  /** `postgres://…` of its database, for anybody on this machine. */
  readonly url: string;
  /** Ends it and removes its data. */
  stop(): Promise<void>;
}

/** Debian puts each major version's programs here. */
const VERSIONS = "/usr/lib/postgresql";
/** PostgreSQL does not run as root. */
const USER = "postgres";

/** Starts Debian's PostgreSQL on a free loopback port with an empty database. Needs root. */
export async function startPostgres(): Promise<Postgres> {
  const directory = await mkdtemp(join(tmpdir(), "erofsify-postgres-"));
  try {
    await run("chown", [USER, directory]);
    const programs = join(VERSIONS, (await readdir(VERSIONS)).sort((a, b) => Number(a) - Number(b)).at(-1)!, "bin");
    const data = join(directory, "data");
    const asUser = ["--reuid", USER, "--regid", USER, "--clear-groups", "--"];
    await run("setpriv", [...asUser, join(programs, "initdb"), "-D", data, "-U", USER, "--auth=trust", "--no-sync"], {
      cwd: directory,
    });
    const port = await freePort();
    const settings = { listen_addresses: "127.0.0.1", port, unix_socket_directories: directory, fsync: "off" };
    const options = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    const server = await startServer(
      "setpriv",
      // Another user's process forgets who is to end it: told again.
      ["--pdeathsig", "KILL", ...asUser, join(programs, "postgres"), "-D", data, ...options],
      /ready to accept connections/,
    );
    const stop = async () => {
      // SIGINT: PostgreSQL's fast shutdown, which does not wait for its clients.
      server.child.kill("SIGINT");
      await server.stop();
      await rm(directory, { recursive: true, force: true });
    };
    return { url: `postgres://${USER}@127.0.0.1:${port}/postgres`, stop };
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}
