/** Users and groups by name, as an image's own /etc/passwd and /etc/group have them. passwd(5), group(5). */
import { VmError } from "../errors.ts";

/** The text of the two files; empty where the image has none. */
export interface Accounts {
  readonly passwd: string;
  readonly group: string;
}

/** Who the command runs as. */
export interface Identity {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
  readonly home: string;
}

interface User {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

interface Group {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

/** Linux keeps 2^32 - 1 for "no id". */
const MAX_ID = 0xffff_fffe;
/** What the kernel takes in setgroups(2). */
const MAX_GROUPS = 65_536;

/**
 * Resolves an image's User: `user`, `uid`, `user:group`, `uid:gid`, or mixed; empty is root. A name must be in the image's
 * files; a number need not. Without a group, it is the user's own, with the groups that list the user as supplementary
 * ones. OCI image spec, config.md.
 *
 * @throws VmError ERR_NO_USER
 */
export function resolveUser(spec: string, accounts: Accounts): Identity {
  const [userPart = "", groupPart = "", ...rest] = spec.split(":");
  if (rest.length > 0) throw noUser(spec, "expected user or user:group");
  const user = findUser(userPart === "" ? "0" : userPart, parsePasswd(accounts.passwd), spec);
  const groups = parseGroup(accounts.group);
  if (groupPart !== "") return { ...user, gid: findGroup(groupPart, groups, spec), groups: [] };
  const supplementary = groups.filter(({ members }) => user.name !== "" && members.includes(user.name));
  const gids = [...new Set(supplementary.map(({ gid }) => gid))];
  if (gids.length > MAX_GROUPS) throw noUser(spec, `in ${gids.length} groups, more than Linux allows`);
  return { ...user, groups: gids };
}

function findUser(text: string, users: readonly User[], spec: string): User {
  const byName = users.find(({ name }) => name === text);
  if (byName !== undefined) return byName;
  const uid = parseId(text);
  if (uid === undefined) throw noUser(spec, `no user ${JSON.stringify(text)} in the image's /etc/passwd`);
  return users.find((user) => user.uid === uid) ?? { name: "", uid, gid: 0, home: "/" };
}

function findGroup(text: string, groups: readonly Group[], spec: string): number {
  const gid = groups.find(({ name }) => name === text)?.gid ?? parseId(text);
  if (gid === undefined) throw noUser(spec, `no group ${JSON.stringify(text)} in the image's /etc/group`);
  return gid;
}

/** Lines that are not well-formed are no users: other systems' comments and compat entries. */
function parsePasswd(text: string): User[] {
  return text.split("\n").flatMap((line) => {
    const [name = "", , uidText = "", gidText = "", , home = ""] = line.split(":");
    const uid = parseId(uidText);
    const gid = parseId(gidText);
    return name === "" || uid === undefined || gid === undefined ? [] : [{ name, uid, gid, home: home || "/" }];
  });
}

function parseGroup(text: string): Group[] {
  return text.split("\n").flatMap((line) => {
    const [name = "", , gidText = "", members = ""] = line.split(":");
    const gid = parseId(gidText);
    return name === "" || gid === undefined ? [] : [{ name, gid, members: members.trim().split(",") }];
  });
}

function parseId(text: string): number | undefined {
  if (!/^\d{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  return id <= MAX_ID ? id : undefined;
}

function noUser(spec: string, why: string): VmError {
  return new VmError("ERR_NO_USER", `the image's user ${JSON.stringify(spec)}: ${why}`);
}
