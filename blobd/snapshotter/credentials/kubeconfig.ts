import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parse } from "yaml";

/** How a cluster's API is reached. */
export interface KubeAccess {
  /** URL. */
  readonly server: string;
  /** PEM; the system's own without. */
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly token: string | undefined;
}

type Named = { readonly name?: unknown } & Record<string, unknown>;

/**
 * The current context of a kubeconfig (Kubernetes, client-go, tools/clientcmd/api/v1). Plugins that make tokens are not run: give
 * a service account's token.
 * @param path for files that it names, and for errors
 * @throws Error when something is missing; the system's errors
 */
export function parseKubeconfig(path: string, bytes: Uint8Array): KubeAccess {
  const config = parse(Buffer.from(bytes).toString()) as Record<string, unknown> | null;
  const named = (list: string, name: unknown, field: string): Record<string, unknown> => {
    const found = ((config?.[list] ?? []) as readonly Named[]).find((one) => one.name === name)?.[field];
    if (typeof found !== "object" || found === null) throw new Error(`${path}: ${list} has no ${String(name)}`);
    return found as Record<string, unknown>;
  };
  const context = named("contexts", config?.["current-context"], "context");
  const cluster = named("clusters", context.cluster, "cluster");
  const user = named("users", context.user, "user");
  const { server } = cluster;
  if (typeof server !== "string" || !/^https:/.test(server))
    throw new Error(`${path}: found the server ${String(server)}, expected an https URL: secrets go over it`);
  // Inline, or a file beside the configuration.
  const pem = (from: Record<string, unknown>, name: string): string | undefined => {
    const [data, file] = [from[`${name}-data`], from[name]];
    if (typeof data === "string") return Buffer.from(data, "base64").toString();
    return typeof file === "string" ? readFileSync(resolve(dirname(path), file), "utf8") : undefined;
  };
  const tokenFile = user.tokenFile;
  const token =
    typeof tokenFile === "string" ? readFileSync(resolve(dirname(path), tokenFile), "utf8").trim() : user.token;
  return {
    server,
    ca: pem(cluster, "certificate-authority"),
    cert: pem(user, "client-certificate"),
    key: pem(user, "client-key"),
    token: typeof token === "string" ? token : undefined,
  };
}
