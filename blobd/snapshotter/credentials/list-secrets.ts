import { readFileSync } from "node:fs";
import { Agent, request } from "undici";
import type { AuthEntry } from "./credential-file.ts";
import { parseKubeconfig } from "./kubeconfig.ts";

/** Only these hold credentials for registries. */
const PATH = "/api/v1/secrets?fieldSelector=type%3Dkubernetes.io%2Fdockerconfigjson";
/** Longest answer with all secrets, in bytes. */
const MAX_LIST_BYTES = 64 << 20;
/** What is taken of an entry. */
const FIELDS = ["auth", "username", "password", "identitytoken", "registrytoken"] as const;

/**
 * The credentials of all pull secrets of a cluster, by registry.
 * @param kubeconfig a file's path
 * @throws Error when the cluster cannot be asked; the system's errors
 */
export async function listSecrets(kubeconfig: string, signal: AbortSignal): Promise<Map<string, AuthEntry>> {
  const { server, ca, cert, key, token } = parseKubeconfig(kubeconfig, readFileSync(kubeconfig));
  const dispatcher = new Agent({ connect: { ca, cert, key }, maxResponseSize: MAX_LIST_BYTES });
  try {
    const headers = { accept: "application/json", ...(token !== undefined && { authorization: `Bearer ${token}` }) };
    const answer = await request(new URL(PATH, server), { dispatcher, headers, signal });
    if (answer.statusCode !== 200) {
      await answer.body.dump();
      throw new Error(`${server}${PATH}: the API server answered ${answer.statusCode}, expected 200`);
    }
    return authsOf((await answer.body.json()) as SecretList);
  } finally {
    await dispatcher.close();
  }
}

interface SecretList {
  readonly items?: readonly { readonly data?: Readonly<Record<string, string>> }[];
}

/** The entries of all secrets; what is none is left out. */
function authsOf({ items = [] }: SecretList): Map<string, AuthEntry> {
  const found = new Map<string, AuthEntry>();
  for (const { data } of items)
    for (const [host, value] of Object.entries(configOf(data?.[".dockerconfigjson"]))) {
      const entry = entryOf(value);
      if (entry !== undefined) found.set(host, entry);
    }
  return found;
}

function configOf(encoded: string | undefined): Record<string, unknown> {
  try {
    return JSON.parse(Buffer.from(encoded ?? "", "base64").toString()).auths ?? {};
  } catch {
    return {}; // Anybody in the cluster may write a secret that is none.
  }
}

/** One entry that is none would have the whole file refused, and with it every login of this host. */
function entryOf(value: unknown): AuthEntry | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const known = FIELDS.flatMap((name) => {
    const field = (value as Readonly<Record<string, unknown>>)[name];
    return typeof field === "string" ? [[name, field] as const] : [];
  });
  return known.length === 0 ? undefined : Object.fromEntries(known);
}
