import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run, startServer } from "./run.ts";

/** A registry of its own for a test. */
export interface Registry {
  /** `127.0.0.1:PORT`, plain HTTP unless there is a certificate. */
  readonly host: string;
  /** PEM file, with TLS. */
  readonly certificate?: string;
  /** Directory of what it stores. */
  readonly storage: string;
  /** Ends it and removes what it stored. */
  stop(): Promise<void>;
}

export interface RegistryOptions {
  /** By TLS, with a certificate made for it. */
  readonly tls?: boolean;
  /** Where it tells of what happens to it, and the Authorization header that it sends there. */
  readonly notify?: { readonly url: string; readonly authorization: string };
  /** Who may use it, as htpasswd has it (bcrypt): it wants to know who comes then. */
  readonly htpasswd?: string;
}

/** Starts Debian's docker-registry (CNCF distribution 2.8) on a free loopback port with empty storage. */
export async function startRegistry({ notify, htpasswd, tls = false }: RegistryOptions = {}): Promise<Registry> {
  const directory = await mkdtemp(join(tmpdir(), "erofsify-registry-"));
  const storage = join(directory, "storage");
  const at = (name: string) => join(directory, name);
  const config = at("config.json"); // JSON is YAML.
  const settings = {
    version: "0.1",
    log: { level: "info" },
    storage: {
      filesystem: { rootdirectory: storage },
      delete: { enabled: true },
      maintenance: { uploadpurging: { enabled: false } },
    },
    http: { addr: "127.0.0.1:0", ...(tls && { tls: { certificate: at("cert.pem"), key: at("key.pem") } }) },
    ...(htpasswd && { auth: { htpasswd: { realm: "test", path: at("htpasswd") } } }),
    ...(notify && { notifications: { endpoints: [endpoint(notify)] } }),
  };
  try {
    await writeFile(config, JSON.stringify(settings));
    if (tls)
      await run("openssl", [
        ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"],
        ...["-subj", "/CN=registry", "-addext", "subjectAltName=IP:127.0.0.1"],
        ...["-keyout", at("key.pem"), "-out", at("cert.pem")],
      ]);
    if (htpasswd) await writeFile(at("htpasswd"), htpasswd);
    const server = await startServer("docker-registry", ["serve", config], /listening on (127\.0\.0\.1:\d+)/);
    const stop = async () => {
      await server.stop();
      await rm(directory, { recursive: true, force: true });
    };
    return { host: server.ready[1]!, storage, stop, ...(tls && { certificate: at("cert.pem") }) };
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

function endpoint({ url, authorization }: NonNullable<RegistryOptions["notify"]>) {
  const headers = { Authorization: [authorization] };
  return { name: "test", url, headers, timeout: "5s", threshold: 1, backoff: "200ms" };
}

/**
 * Copies an image from an OCI layout to a registry with skopeo.
 * @param target `host/name:tag`
 * @param format `oci` keeps the layers as they are; `v2s2` makes a Docker manifest, which old tools want.
 */
export async function pushImage(
  layout: string,
  tag: string,
  target: string,
  format: "oci" | "v2s2" = "oci",
): Promise<void> {
  const options = ["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", "--format", format];
  await run("skopeo", [...options, `oci:${layout}:${tag}`, `docker://${target}`]);
}
