import { join } from "node:path";
import type { Environment } from "./settings.ts";

/** In a store: credentials that were handed to the daemons of this host for what they pull. */
export function pullCredentialsPath(storeRoot: string): string {
  return join(storeRoot, "credentials.json");
}

/**
 * The environment of a daemon that also uses those, before all configured ones. EROFSIFY_AUTH_FILE is internal: the daemons tell
 * it to their own logins; one that is set already stays.
 */
export function pullCredentials(env: Environment, storeRoot: string): Environment {
  return { EROFSIFY_AUTH_FILE: pullCredentialsPath(storeRoot), ...env };
}
