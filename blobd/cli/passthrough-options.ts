import { type Command, Option } from "commander";
import type { IdRange, PassthroughConfig } from "../fuse/passthrough/index.ts";
import { UsageError } from "./exit.ts";
import { parseCount, parseSeconds } from "./numbers.ts";

/** What commander makes of the options below. */
export interface PassthroughOptions {
  readonly readOnly?: boolean;
  readonly cache: NonNullable<PassthroughConfig["cache"]>;
  readonly entryTimeout?: string;
  readonly attrTimeout?: string;
  readonly negativeTimeout?: string;
  readonly writeback?: boolean;
  readonly readdirplus: boolean;
  readonly inodeFileHandles: NonNullable<PassthroughConfig["inodeFileHandles"]>;
  readonly posixLocks?: boolean;
  readonly flock?: boolean;
  readonly xattr: boolean;
  readonly posixAcl?: boolean;
  readonly xattrMap?: string;
  readonly uidMap?: readonly IdRange[];
  readonly gidMap?: readonly IdRange[];
  readonly submounts: boolean;
  readonly directIo?: boolean;
  readonly open: boolean;
  readonly sandbox: NonNullable<PassthroughConfig["sandbox"]>;
  readonly maxNodes?: string;
  readonly maxFiles?: string;
}

/** Adds the options that every command with a served directory has. */
export function addPassthroughOptions(command: Command): Command {
  const choice = (flags: string, help: string, choices: readonly string[], standard: string) =>
    new Option(flags, help).choices(choices).default(standard);
  return command
    .option("--read-only", "refuse every change")
    .addOption(
      choice("--cache <mode>", "what the kernel may keep; see below", ["never", "metadata", "auto", "always"], "auto"),
    )
    .option("--entry-timeout <seconds>", "how long names are kept (default: by --cache)")
    .option("--attr-timeout <seconds>", "how long attributes are kept (default: by --cache)")
    .option("--negative-timeout <seconds>", "how long it is kept that a name is absent (default: 0)")
    .option("--writeback", "writes are collected in the page cache; for directories that nobody else writes to")
    .option("--no-readdirplus", "directories are read without attributes")
    .addOption(
      choice(
        "--inode-file-handles <mode>",
        "hold known files by file handles instead of descriptors",
        ["never", "auto", "always"],
        "auto",
      ),
    )
    .option("--posix-locks", "fcntl locks hold on the host too")
    .option("--flock", "flock locks hold on the host too")
    .option("--no-xattr", "no extended attributes")
    .option("--posix-acl", "POSIX access control lists")
    .option("--xattr-map <rules>", "rules for names of extended attributes, in virtiofsd's notation")
    .option(
      "--uid-map <guest:host:count>",
      "user IDs from `guest` on are the host's from `host` on; repeatable",
      idRange("--uid-map"),
    )
    .option("--gid-map <guest:host:count>", "the same for group IDs; repeatable", idRange("--gid-map"))
    .option("--no-submounts", "file systems mounted below the directory are not entered")
    .option("--no-open", "files are read without being opened first; with --read-only and --cache always")
    .option("--direct-io", "O_DIRECT reaches the host's file system")
    .addOption(
      choice(
        "--sandbox <mode>",
        "confine the threads that serve to the directory; needs root",
        ["none", "thread"],
        "none",
      ),
    )
    .option("--max-nodes <n>", "most files known at a time")
    .option("--max-files <n>", "most files open at a time");
}

/** Explains --cache, for the end of a command's help. */
export const CACHE_HELP = `
--cache
  never      every look at a name, an attribute or data asks the directory
  metadata   names and attributes are kept for a day, data is not
  auto       names and attributes are kept for a second, data until the file is opened again or seen changed
  always     all is kept for a day: for directories that nobody else changes`;

/**
 * The file system's configuration.
 * @throws UsageError for values that cannot be read.
 */
export function passthroughConfig(source: string, options: PassthroughOptions): PassthroughConfig {
  const set: Partial<Record<keyof PassthroughConfig, unknown>> = {
    source,
    readOnly: options.readOnly,
    cache: options.cache,
    entryTimeoutMs: optional(options.entryTimeout, (text) => parseSeconds("--entry-timeout", text)),
    attrTimeoutMs: optional(options.attrTimeout, (text) => parseSeconds("--attr-timeout", text)),
    negativeTimeoutMs: optional(options.negativeTimeout, (text) => parseSeconds("--negative-timeout", text)),
    writeback: options.writeback,
    readdirplus: options.readdirplus,
    inodeFileHandles: options.inodeFileHandles,
    posixLocks: options.posixLocks,
    flock: options.flock,
    xattr: options.xattr,
    posixAcl: options.posixAcl,
    xattrMap: options.xattrMap,
    uidMap: options.uidMap,
    gidMap: options.gidMap,
    submounts: options.submounts,
    directIo: options.directIo,
    noOpen: options.open ? undefined : true,
    sandbox: options.sandbox,
    maxNodes: optional(options.maxNodes, (text) => parseCount("--max-nodes", text, 1, 2 ** 31)),
    maxFiles: optional(options.maxFiles, (text) => parseCount("--max-files", text, 1, 2 ** 31)),
  };
  return Object.fromEntries(
    Object.entries(set).filter(([, value]) => value !== undefined),
  ) as unknown as PassthroughConfig;
}

function optional<T>(text: string | undefined, parse: (text: string) => T): T | undefined {
  return text === undefined ? undefined : parse(text);
}

function idRange(option: string) {
  return (text: string, before: readonly IdRange[] | undefined): readonly IdRange[] => {
    const [, guest, host, count] = /^(\d+):(\d+):(\d+)$/.exec(text) ?? [];
    if (guest === undefined)
      throw new UsageError(`${option} ${text}: expected guest:host:count, such as 0:100000:65536`);
    return [...(before ?? []), { guest: Number(guest), host: Number(host), count: Number(count) }];
  };
}
