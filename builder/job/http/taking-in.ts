/** From what was told to what is asked of the queue. */
import { FormatError } from "../../../formats/bytes/index.ts";
import {
  formatPlatform,
  normalPlatform,
  parsePlatform,
  parseReference,
  type Reference,
} from "../../../formats/oci/index.ts";
import type { Notification } from "../events/index.ts";
import type { Ask, Origin } from "../queue/index.ts";
import type { JobSettings } from "../settings/index.ts";
import { illegal } from "./reply.ts";

const MAX_PLATFORMS = 32;

/** The registry of the settings that is meant by a host; undefined for a stranger. */
export function registryNamed({ registries }: JobSettings, host: string): string | undefined {
  return registries.find(({ name, aliases }) => name === host || aliases.includes(host))?.name;
}

/** What a notification asks for; pushes to registries that the settings do not name are nobody's concern. */
export function asksOf(settings: JobSettings, origin: Origin, { pushes }: Notification): Ask[] {
  return pushes.flatMap(({ host, repository, tag, digest }) => {
    const registry = registryNamed(settings, host);
    return registry === undefined ? [] : [{ origin, registry, repository, tag, digest }];
  });
}

/** What a person or program asks for by a reference. @throws ApiError */
export function askFor(
  settings: JobSettings,
  origin: Origin,
  text: string,
  platforms: readonly string[] = [],
  force = false,
): Ask {
  const reference = parsed(() => parseReference(text));
  const registry = registryNamed(settings, reference.registry);
  if (registry === undefined)
    throw illegal(
      `${reference.registry} is not a registry of this service: it has ${settings.registries.map(({ name }) => name).join(", ")}`,
    );
  if (platforms.length > MAX_PLATFORMS) throw illegal(`at most ${MAX_PLATFORMS} platforms`);
  const wanted = platforms.map((platform) => formatPlatform(parsed(() => normalPlatform(parsePlatform(platform)))));
  return { origin, ...locationOf(reference), registry, platforms: wanted, force };
}

function locationOf({ repository, tag, digest }: Reference) {
  return { repository, tag, digest };
}

function parsed<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw error instanceof FormatError ? illegal(error.message) : error;
  }
}
