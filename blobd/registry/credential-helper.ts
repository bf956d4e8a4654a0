/** Asks a `docker-credential-NAME` program. Protocol: docker/docker-credential-helpers, README, "Development". */
import { spawn } from "node:child_process";
import { DocumentError, JsonObject, SourceError } from "../../formats/oci/index.ts";
import type { Credentials } from "./credentials.ts";
import type { Environment } from "./settings.ts";

const MAX_OUTPUT_BYTES = 1 << 20;
/** Helpers may ask a person to unlock a keychain. */
const TIMEOUT_MS = 120_000;
/** The user name that says: the secret is an identity token. */
const TOKEN_USER = "<token>";
/** What helpers print, on stdout and with an exit code of 1, when they simply have nothing. */
const NOT_FOUND = /credentials not found/i;

/**
 * Credentials from a helper, or undefined when it has none for this server.
 * @param server What the helper is asked for: a host, or Docker Hub's URL.
 * @throws SourceError ERR_CREDENTIALS
 */
export async function askHelper(
  name: string,
  server: string,
  env: Environment,
  signal?: AbortSignal,
): Promise<Credentials | undefined> {
  const program = `docker-credential-${name}`;
  if (!/^[A-Za-z0-9_.-]+$/.test(name))
    throw new SourceError("ERR_CREDENTIALS", `credential helper ${JSON.stringify(name)}: not the name of a program`);
  const { exit, stdout, stderr } = await run(program, server, env, signal);
  if (exit !== 0) {
    if (NOT_FOUND.test(stdout)) return undefined;
    const said = (stderr || stdout).trim().slice(0, 300);
    throw new SourceError("ERR_CREDENTIALS", `${program} failed for ${server} (exit code ${exit}): ${said}`);
  }
  return parseAnswer(program, stdout);
}

function parseAnswer(program: string, stdout: string): Credentials | undefined {
  try {
    const json = JsonObject.parse(Buffer.from(stdout), program, MAX_OUTPUT_BYTES);
    const username = json.optionalString("Username") ?? "";
    const secret = json.optionalString("Secret") ?? "";
    if (secret === "") return undefined;
    if (username === TOKEN_USER) return { kind: "identity", token: secret, origin: program };
    return { kind: "password", username, password: secret, origin: program };
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error;
    throw new SourceError("ERR_CREDENTIALS", `${program}: its answer is not the JSON object of the protocol`);
  }
}

function run(program: string, input: string, env: Environment, signal: AbortSignal | undefined) {
  return new Promise<{ exit: number | null; stdout: string; stderr: string }>((resolve, reject) => {
    const child = spawn(program, ["get"], { env: { ...env }, ...(signal && { signal }) });
    // Not spawn's own timeout: after a failed start its timer keeps the process alive (Node 20).
    const timer = setTimeout(() => child.kill("SIGKILL"), TIMEOUT_MS);
    const output = { stdout: "", stderr: "" };
    for (const stream of ["stdout", "stderr"] as const)
      child[stream].setEncoding("utf8").on("data", (text: string) => {
        output[stream] += text;
        if (output[stream].length > MAX_OUTPUT_BYTES) child.kill("SIGKILL");
      });
    child.on("error", (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      if (signal?.aborted) return reject(signal.reason);
      const why = error.code === "ENOENT" ? "is not installed (not found in PATH)" : `cannot be run: ${error.message}`;
      reject(new SourceError("ERR_CREDENTIALS", `${program} ${why}; a credentials file names it`, { cause: error }));
    });
    child.on("close", (exit) => {
      clearTimeout(timer);
      resolve({ exit, ...output });
    });
    // A helper may answer, or die, without reading.
    child.stdin.on("error", () => {});
    child.stdin.end(`${input}\n`);
  });
}
