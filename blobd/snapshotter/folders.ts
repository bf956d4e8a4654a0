import { closeSync, constants, existsSync, mkdirSync, openSync, readdirSync, renameSync, rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { makeFolders, tryFlock } from "../sys/index.ts";

/**
 * The snapshotter's own folder:
 *
 *     <root>/
 *       lock                 flock: one snapshotter a folder
 *       state/               the table of snapshots (LMDB)
 *       snapshots/<id>/fs    what a container writes, or a differ unpacks: upper directory of its overlay
 *                    /work   overlayfs's own, beside it
 *       chains/<id>/         where the image of committed snapshot <id> and all below it is mounted
 *       trash/               removed snapshots that are being deleted
 *       tmp/                 layers on their way to containerd
 */
export class Folders {
  readonly root: string;
  #trashed = 0;
  #lock = -1;

  /** Makes what is absent. @throws the system's error */
  constructor(root: string) {
    this.root = root;
    // Only root may look in: what lies below has set-user-ID programs.
    makeFolders(root, 0o700);
    for (const name of ["snapshots", "chains", "state", "trash", "tmp"]) makeFolders(join(root, name), 0o700);
  }

  get state(): string {
    return join(this.root, "state");
  }

  get tmp(): string {
    return join(this.root, "tmp");
  }

  snapshot(id: number): string {
    return join(this.root, "snapshots", String(id));
  }

  /** Upper directory of an active snapshot; a lower one of those above a committed one whose files are here. */
  upper(id: number): string {
    return join(this.snapshot(id), "fs");
  }

  work(id: number): string {
    return join(this.snapshot(id), "work");
  }

  chain(id: number): string {
    return join(this.root, "chains", String(id));
  }

  /** The id of the snapshot whose upper directory this is. */
  idOfUpper(path: string): number | undefined {
    return idIn(path, `${join(this.root, "snapshots")}/`, "/fs");
  }

  /** Makes a snapshot's folder. `withWork`: it will be written to. @throws the system's error */
  makeSnapshot(id: number, withWork: boolean): void {
    mkdirSync(this.snapshot(id), { mode: 0o700 });
    mkdirSync(this.upper(id), { mode: 0o755 });
    if (withWork) mkdirSync(this.work(id), { mode: 0o711 });
  }

  /** Takes a snapshot's folder away at once; `emptyTrash` deletes it. @throws the system's error */
  trashSnapshot(id: number): void {
    if (!existsSync(this.snapshot(id))) return;
    renameSync(this.snapshot(id), join(this.root, "trash", `${id}-${process.pid}-${this.#trashed++}`));
  }

  /** Deletes what was taken away, also by an earlier process. */
  async emptyTrash(): Promise<void> {
    const trash = join(this.root, "trash");
    for (const name of readdirSync(trash)) await rm(join(trash, name), { recursive: true, force: true });
  }

  /** Removes unfinished layers of an earlier process. */
  emptyTmp(): void {
    for (const name of readdirSync(this.tmp)) rmSync(join(this.tmp, name), { force: true });
  }

  /** The ids of all folders of a kind; what else lies there is not ours and stays. */
  idsIn(kind: "snapshots" | "chains"): number[] {
    return readdirSync(join(this.root, kind))
      .filter((name) => /^\d{1,15}$/.test(name))
      .map(Number);
  }

  /**
   * Keeps others out, until `unlock` or the end of this process.
   * @throws Error when there is another
   */
  lock(): void {
    this.#lock = openSync(join(this.root, "lock"), constants.O_RDWR | constants.O_CREAT, 0o600);
    if (tryFlock(this.#lock, "exclusive")) return;
    this.unlock();
    throw new Error(`${this.root}: another snapshotter uses this folder`);
  }

  unlock(): void {
    closeSync(this.#lock);
  }
}

function idIn(path: string, before: string, after: string): number | undefined {
  if (!path.startsWith(before) || !path.endsWith(after)) return undefined;
  const id = path.slice(before.length, path.length - after.length);
  return /^\d{1,15}$/.test(id) ? Number(id) : undefined;
}
