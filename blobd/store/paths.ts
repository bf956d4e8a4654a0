import { randomBytes } from "node:crypto";
import { existsSync, realpathSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

const MARKER = "erofsify-store-1";

/** Names inside a store; the layout is drawn in index.ts. Every name is checked, so that no record leads outside. */
export class StorePaths {
  readonly root: string;
  readonly blobs: string;
  readonly verified: string;
  readonly layers: string;
  readonly images: string;
  readonly holds: string;
  readonly encodings: string;
  readonly partial: string;
  readonly tmp: string;
  readonly locks: string;
  /** The lock file of the whole store. */
  readonly lock: string;
  /** Name of the empty file that says that this folder is a store, and of which version. */
  readonly markerName = MARKER;

  constructor(root: string) {
    this.root = root;
    this.blobs = join(root, "blobs", "sha256");
    this.verified = join(root, "verified", "sha256");
    this.layers = join(root, "layers");
    this.images = join(root, "images");
    this.holds = join(root, "holds");
    this.encodings = join(root, "encodings");
    this.partial = join(root, "partial");
    this.tmp = join(root, "tmp");
    this.locks = join(root, "locks");
    this.lock = join(root, "lock");
  }

  get folders(): readonly string[] {
    return [
      this.blobs,
      this.verified,
      this.layers,
      this.images,
      this.holds,
      this.encodings,
      this.partial,
      this.tmp,
      this.locks,
    ];
  }

  blob(digestHex: string): string {
    return join(this.blobs, checkHex(digestHex));
  }

  stamp(digestHex: string): string {
    return join(this.verified, `${checkHex(digestHex)}.json`);
  }

  hold(key: string): string {
    return join(this.holds, `${checkHex(key)}.json`);
  }

  /** A file of a blob that is not complete; see partials.ts. */
  partialFile(key: string, kind: "data" | "map" | "index"): string {
    return join(this.partial, `${checkHex(key)}.${kind}`);
  }

  /** The lock file of a layer in conversion, or of a blob that is being put in place or removed. */
  keyLock(key: string): string {
    return join(this.locks, checkHex(key));
  }

  /** A name nobody else uses, for a file in flight. */
  newTmp(): string {
    return join(this.tmp, `${process.pid}-${randomBytes(9).toString("hex")}`);
  }
}

const HEX = /^[0-9a-f]{64}$/;

/** Whether this is a sha256 in 64 lower-case hex digits: the only form of key and blob name. */
export function isHex(name: string): boolean {
  return HEX.test(name);
}

function checkHex(name: string): string {
  if (!HEX.test(name)) throw new RangeError(`store key: expected 64 hex digits, found ${JSON.stringify(name)}`);
  return name;
}

/**
 * Where the store is when the command line does not say: `$EROFSIFY_STORE`, else `/var/lib/erofsify` for root, else
 * `$XDG_DATA_HOME/erofsify` or `~/.local/share/erofsify`.
 */
export function defaultStoreRoot(env: NodeJS.ProcessEnv = process.env, uid = process.getuid?.() ?? 0): string {
  if (env.EROFSIFY_STORE) return env.EROFSIFY_STORE;
  if (uid === 0) return "/var/lib/erofsify";
  // The XDG base directory specification says to ignore a relative path.
  const data = env.XDG_DATA_HOME;
  return join(data?.startsWith("/") ? data : join(homedir(), ".local", "share"), "erofsify");
}

/** The store that a file lies in, wherever that is; undefined when it lies in none. @throws Error when there is no such file */
export function storeOf(path: string): string | undefined {
  for (let folder = dirname(realpathSync(path)); ; folder = dirname(folder)) {
    if (existsSync(join(folder, MARKER))) return folder;
    if (folder === dirname(folder)) return undefined;
  }
}
