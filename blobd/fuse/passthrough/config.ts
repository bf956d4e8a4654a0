import { parseXattrMap, type XattrRule } from "./xattr-map.ts";

/** IDs from `guest` on, `count` of them, are the host's from `host` on. */
export interface IdRange {
  readonly guest: number;
  readonly host: number;
  readonly count: number;
}

/** How a host directory is served. A plain description: it travels to worker threads and to a process that takes over. */
export interface PassthroughConfig {
  /** The directory that is served. */
  readonly source: string;
  /** Refuses every change with EROFS. */
  readonly readOnly?: boolean;
  /**
   * How files that the guest knows are held: by file handles, which cost 64 bytes each, or by descriptors, of which a
   * process has few. `auto` (the default) takes handles where the file system has them and the process may use them
   * (CAP_DAC_READ_SEARCH); `always` refuses to start where it may not.
   */
  readonly inodeFileHandles?: "never" | "auto" | "always";
  /**
   * What the guest may keep. `never`: nothing; `metadata`: names and attributes, but no data; `auto` (the default): data
   * until the file is opened again or seen changed, names and attributes for a second; `always`: all for a day, for
   * directories that nobody else changes.
   */
  readonly cache?: "never" | "metadata" | "auto" | "always";
  /** How long names and attributes are kept, instead of what `cache` says. */
  readonly entryTimeoutMs?: number;
  readonly attrTimeoutMs?: number;
  /** How long it is remembered that a name is absent; 0, the default, is not at all. */
  readonly negativeTimeoutMs?: number;
  /** The guest collects writes in its page cache. For directories that only this guest writes to. */
  readonly writeback?: boolean;
  /** Directories are read with attributes, when the guest seems to want them. On by default. */
  readonly readdirplus?: boolean;
  /** fcntl(2) locks and flock(2) locks hold on the host too, not only between the guest's programs. Off by default. */
  readonly posixLocks?: boolean;
  readonly flock?: boolean;
  /** Extended attributes; on by default. */
  readonly xattr?: boolean;
  /** POSIX access control lists. They need `xattr`. Off by default. */
  readonly posixAcl?: boolean;
  /** Rules by which names of extended attributes are changed or refused, in virtiofsd's notation. */
  readonly xattrMap?: string;
  /** User and group IDs, where the guest's are not the host's. An ID in no range is refused, or shown as 65534. */
  readonly uidMap?: readonly IdRange[];
  readonly gidMap?: readonly IdRange[];
  /** File systems mounted below `source` are served too, each shown as one of its own; else EXDEV. On by default. */
  readonly submounts?: boolean;
  /** O_DIRECT reaches the host's file system; else the host's page cache is used all the same. Off by default. */
  readonly directIo?: boolean;
  /** Opening without asking, for read-only exports with `cache: always`. */
  readonly noOpen?: boolean;
  /** Which files the guest is told to map: none, those of `daxThresholdBytes` and more, or all. `inode` by default. */
  readonly dax?: "never" | "inode" | "always";
  readonly daxThresholdBytes?: number;
  /**
   * Maps files of a read-only export too. A VMM maps them for writing whatever is asked, so this trusts the guest not to
   * write.
   */
  readonly daxReadOnlyTrusted?: boolean;
  /**
   * Confines the threads that serve, see sandbox.ts: `thread` where it is possible and an error where not. `none` by
   * default.
   */
  readonly sandbox?: "none" | "thread";
  /** Most files that the guest may know at a time, and that it may have open. Memory is taken as they are used. */
  readonly maxNodes?: number;
  readonly maxFiles?: number;
}

/** Below this a file is read faster than mapped: a mapping costs the VMM a memory map and the guest page faults. */
const DAX_THRESHOLD_BYTES = 64 << 10;
const MAX_NODES = 4 << 20;
const MAX_FILES = 64 << 10;
/** Bounds of `maxNodes` and `maxFiles`: an ID's slot has 32 bits, and memory is addressed by 32-bit words. */
const NODES_LIMIT = 32 << 20;
const FILES_LIMIT = 1 << 20;

const DAY_MS = 86_400_000;
const TIMEOUTS_MS = { never: 0, metadata: DAY_MS, auto: 1000, always: DAY_MS } as const;

/** A configuration with all its defaults, checked. */
export interface Settings {
  readonly readOnly: boolean;
  readonly handles: "never" | "auto" | "always";
  readonly cache: "never" | "metadata" | "auto" | "always";
  readonly entrySeconds: number;
  readonly entryNanos: number;
  readonly attrSeconds: number;
  readonly attrNanos: number;
  readonly negativeSeconds: number;
  readonly negativeNanos: number;
  readonly writeback: boolean;
  readonly readdirplus: boolean;
  readonly posixLocks: boolean;
  readonly flock: boolean;
  readonly xattr: boolean;
  readonly posixAcl: boolean;
  readonly xattrRules: readonly XattrRule[];
  readonly uidMap: readonly IdRange[];
  readonly gidMap: readonly IdRange[];
  readonly submounts: boolean;
  readonly directIo: boolean;
  readonly noOpen: boolean;
  readonly dax: boolean;
  /** Regular files from this size on are shown as to be mapped. */
  readonly daxFromBytes: number;
  readonly sandbox: "none" | "thread";
  readonly maxNodes: number;
  readonly maxFiles: number;
}

/** @throws RangeError for options that contradict each other or are out of range. */
export function settingsOf(config: PassthroughConfig): Settings {
  const cache = oneOf("cache", config.cache ?? "auto", ["never", "metadata", "auto", "always"]);
  const handles = oneOf("inodeFileHandles", config.inodeFileHandles ?? "auto", ["never", "auto", "always"]);
  const daxMode = oneOf("dax", config.dax ?? "inode", ["never", "inode", "always"]);
  const readOnly = config.readOnly ?? false;
  const xattr = config.xattr ?? true;
  const entryMs = timeout("entryTimeoutMs", config.entryTimeoutMs ?? TIMEOUTS_MS[cache]);
  const attrMs = timeout("attrTimeoutMs", config.attrTimeoutMs ?? TIMEOUTS_MS[cache]);
  const negativeMs = timeout("negativeTimeoutMs", config.negativeTimeoutMs ?? 0);
  if (config.noOpen && !(readOnly && cache === "always"))
    throw new RangeError("noOpen is for read-only exports with cache always");
  if (config.noOpen && (config.posixLocks || config.flock))
    throw new RangeError("noOpen leaves no open files that could hold locks: expected neither posixLocks nor flock");
  if (config.posixAcl && !xattr) throw new RangeError("posixAcl needs xattr");
  if (config.writeback && cache !== "auto" && cache !== "always")
    throw new RangeError(`writeback needs a guest that caches data: cache auto or always, not ${cache}`);
  return {
    readOnly,
    handles,
    cache,
    entrySeconds: Math.floor(entryMs / 1000),
    entryNanos: (entryMs % 1000) * 1e6,
    attrSeconds: Math.floor(attrMs / 1000),
    attrNanos: (attrMs % 1000) * 1e6,
    negativeSeconds: Math.floor(negativeMs / 1000),
    negativeNanos: (negativeMs % 1000) * 1e6,
    writeback: config.writeback ?? false,
    readdirplus: config.readdirplus ?? true,
    posixLocks: config.posixLocks ?? false,
    flock: config.flock ?? false,
    xattr,
    posixAcl: config.posixAcl ?? false,
    xattrRules: config.xattrMap === undefined ? [] : parseXattrMap(config.xattrMap),
    uidMap: idMap("uidMap", config.uidMap),
    gidMap: idMap("gidMap", config.gidMap),
    submounts: config.submounts ?? true,
    directIo: config.directIo ?? false,
    noOpen: config.noOpen ?? false,
    dax: daxMode !== "never" && (!readOnly || (config.daxReadOnlyTrusted ?? false)),
    daxFromBytes:
      daxMode === "always" ? 0 : count("daxThresholdBytes", config.daxThresholdBytes ?? DAX_THRESHOLD_BYTES, 0),
    sandbox: oneOf("sandbox", config.sandbox ?? "none", ["none", "thread"]),
    maxNodes: count("maxNodes", config.maxNodes ?? MAX_NODES, 1, NODES_LIMIT),
    maxFiles: count("maxFiles", config.maxFiles ?? MAX_FILES, 1, FILES_LIMIT),
  };
}

/** The choice itself, not the text that says the same: comparing with it is comparing pointers then. */
function oneOf<T extends string>(option: string, value: string, choices: readonly T[]): T {
  const choice = choices[choices.indexOf(value as T)];
  if (choice === undefined) throw new RangeError(`${option}: found ${value}, expected ${choices.join(", ")}`);
  return choice;
}

function count(option: string, value: number, from: number, to = Number.MAX_SAFE_INTEGER): number {
  if (!Number.isSafeInteger(value) || value < from || value > to)
    throw new RangeError(`${option}: found ${value}, expected ${from} to ${to}`);
  return value;
}

function timeout(option: string, ms: number): number {
  return count(option, ms, 0, 365 * DAY_MS);
}

/** IDs are below this; 2^32 - 1 means "none" to the kernel. */
const ID_LIMIT = 0xffff_ffff;

function idMap(option: string, ranges: readonly IdRange[] = []): readonly IdRange[] {
  for (const { guest, host, count: length } of ranges) {
    count(`${option}.guest`, guest, 0, ID_LIMIT - 1);
    count(`${option}.host`, host, 0, ID_LIMIT - 1);
    count(`${option}.count`, length, 1, ID_LIMIT - Math.max(guest, host));
  }
  for (const [index, a] of ranges.entries())
    for (const b of ranges.slice(index + 1))
      if (overlaps(a.guest, b.guest, a.count, b.count) || overlaps(a.host, b.host, a.count, b.count))
        throw new RangeError(`${option}: ranges overlap`);
  return ranges.map(({ guest, host, count }) => ({ guest, host, count }));
}

function overlaps(a: number, b: number, aCount: number, bCount: number): boolean {
  return a < b + bCount && b < a + aCount;
}
