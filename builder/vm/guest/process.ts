/** What runs in the guest: from the image's config and the user's arguments to exact argv, environment and identity. */
import type { ExecutionConfig } from "../../../formats/oci/index.ts";
import { VmError } from "../errors.ts";
import { type Accounts, type Identity, resolveUser } from "./accounts.ts";

/** A process, ready to be started. */
export interface GuestProcess {
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly user: Identity;
  /** Folders in which a command without a slash is looked for. */
  readonly searchPath: readonly string[];
}

export interface ProcessOptions {
  /** Replace the image's Cmd when there are any. */
  readonly args: readonly string[];
  readonly hostname: string;
  /** The terminal's type when there is a terminal. */
  readonly term?: string;
}

/** What a command gets when neither image nor user says anything: docker's default. */
const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * Puts the image's Entrypoint, Cmd, Env, WorkingDir and User together as container runtimes do. OCI image spec, config.md
 * and conversion.md.
 *
 * @throws VmError ERR_NO_COMMAND, ERR_NO_USER
 */
export function guestProcess(config: ExecutionConfig, accounts: Accounts, options: ProcessOptions): GuestProcess {
  const cmd = options.args.length > 0 ? options.args : (config.cmd ?? []);
  const argv = [...(config.entrypoint ?? []), ...cmd];
  if (argv.length === 0 || argv[0] === "")
    throw new VmError("ERR_NO_COMMAND", "the image names no command; give one after --: erofsify run IMAGE -- /bin/sh");
  const user = resolveUser(config.user, accounts);
  const env = withDefaults(config.env, {
    PATH: DEFAULT_PATH,
    HOSTNAME: options.hostname,
    ...(options.term !== undefined && { TERM: options.term }),
    HOME: user.home,
  });
  for (const text of [...argv, ...env, config.workingDir])
    if (text.includes("\0"))
      throw new VmError("ERR_NO_COMMAND", `a NUL in ${JSON.stringify(text)}: cannot be passed on`);
  const cwd = config.workingDir === "" ? "/" : config.workingDir;
  const path = env.findLast((entry) => entry.startsWith("PATH="))?.slice("PATH=".length) ?? "";
  // An empty folder in PATH is the current one.
  const searchPath = path.split(":").map((folder) => (folder === "" ? "." : folder));
  return { argv, env, cwd: cwd.startsWith("/") ? cwd : `/${cwd}`, user, searchPath };
}

/** The image's variables in their order, then defaults for those it does not set. */
function withDefaults(env: readonly string[], defaults: Readonly<Record<string, string>>): string[] {
  const names = new Set(env.map((entry) => entry.split("=", 1)[0]));
  const missing = Object.entries(defaults).filter(([name]) => !names.has(name));
  return [...env, ...missing.map(([name, value]) => `${name}=${value}`)];
}
