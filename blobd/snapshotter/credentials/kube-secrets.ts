import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Agent, request } from "undici";
import type { AuthEntry, CredentialFile } from "./credential-file.ts";
import { type KubeAccess, parseKubeconfig } from "./kubeconfig.ts";

/** Only these hold credentials for registries. */
const PATH = "/api/v1/secrets?fieldSelector=type%3Dkubernetes.io%2Fdockerconfigjson";
/** Longest answer with all secrets, in bytes. */
const MAX_LIST_BYTES = 64 << 20;
/** How long a change in a secret may go unseen, in ms: tokens that are written anew live for hours. */
const LOOK_MS = 30_000;

/**
 * Keeps the credentials of all pull secrets of a cluster in the file, until `signal`: read again every half minute, and with
 * them the kubeconfig, whose own token may have been renewed.
 * @param onWarning told when the cluster cannot be asked: what was known before stays
 */
export async function watchSecrets(
  kubeconfig: string,
  file: CredentialFile,
  onWarning: (message: string, error: unknown) => void,
  signal: AbortSignal,
  lookMs = LOOK_MS,
): Promise<void> {
  while (!signal.aborted) {
    try {
      file.replaceSecrets(await listSecrets(parseKubeconfig(kubeconfig, readFileSync(kubeconfig)), signal));
    } catch (error) {
      if (!signal.aborted) onWarning("pull secrets cannot be read", error);
    }
    await sleep(lookMs, undefined, { signal, ref: false }).catch(() => {});
  }
}

async function listSecrets(access: KubeAccess, signal: AbortSignal): Promise<Map<string, AuthEntry>> {
  const { server, ca, cert, key, token } = access;
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
    for (const [host, entry] of Object.entries(configOf(data?.[".dockerconfigjson"])))
      if (typeof entry === "object" && entry !== null) found.set(host, entry);
  return found;
}

function configOf(encoded: string | undefined): Record<string, AuthEntry> {
  try {
    return JSON.parse(Buffer.from(encoded ?? "", "base64").toString()).auths ?? {};
  } catch {
    return {}; // Anybody in the cluster may write a secret that is none.
  }
}
