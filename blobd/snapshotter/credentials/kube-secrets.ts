import { setTimeout as sleep } from "node:timers/promises";
import type { CredentialFile } from "./credential-file.ts";

/** How long a change in a secret may go unseen, in ms: tokens that are written anew live for hours. */
const LOOK_MS = 30_000;

/**
 * Keeps the credentials of all pull secrets of a cluster in the file, until `signal`: read again every half minute, and with
 * them the kubeconfig, whose own token may have been renewed. Never fails.
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
      // undici and yaml take 0.2 s to load, and only this needs them.
      const { listSecrets } = await import("./list-secrets.ts");
      file.replaceSecrets(await listSecrets(kubeconfig, signal));
    } catch (error) {
      if (!signal.aborted) onWarning("pull secrets cannot be read", error);
    }
    await sleep(lookMs, undefined, { signal, ref: false }).catch(() => {});
  }
}
