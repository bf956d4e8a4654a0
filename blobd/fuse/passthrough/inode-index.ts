import { NEXT, type SlotTable } from "../shared/index.ts";
import type { HandleScratch } from "./handle.ts";
import { deviceOf, handleBytes, handleType } from "./node-info.ts";
import { Node, type State } from "./state.ts";

/** Nodes by their inodes: a hash table whose chains run through the slots. To be used with the mutex held. */
export class InodeIndex {
  readonly #state: State;
  readonly #table: SlotTable;
  readonly #handle: HandleScratch;
  readonly #words: Int32Array;

  constructor(state: State, table: SlotTable, handle: HandleScratch) {
    this.#state = state;
    this.#table = table;
    this.#handle = handle;
    this.#words = state.words;
  }

  /** @param byHandle whether nodes without a descriptor are to be compared by the scratch's handle */
  find(device: number, inoLow: number, inoHigh: number, byHandle: boolean): number {
    const words = this.#words;
    for (let slot = words[this.#bucketAt(device, inoLow, inoHigh)]!; slot !== 0; ) {
      const at = this.#table.at(slot);
      const info = words[at + Node.info]!;
      if (words[at + Node.inoLow] === inoLow && words[at + Node.inoHigh] === inoHigh && deviceOf(info) === device) {
        if (words[at + Node.fd]! >= 0) return slot;
        if (byHandle && this.#handle.equals(words, at + Node.handle, handleBytes(info), handleType(info))) return slot;
      }
      slot = words[at + NEXT]!;
    }
    return 0;
  }

  link(slot: number): void {
    const words = this.#words;
    const at = this.#table.at(slot);
    const bucket = this.#bucketAt(
      deviceOf(words[at + Node.info]!),
      words[at + Node.inoLow]!,
      words[at + Node.inoHigh]!,
    );
    words[at + NEXT] = words[bucket]!;
    words[bucket] = slot;
  }

  unlink(slot: number): void {
    const words = this.#words;
    const at = this.#table.at(slot);
    let link = this.#bucketAt(deviceOf(words[at + Node.info]!), words[at + Node.inoLow]!, words[at + Node.inoHigh]!);
    while (words[link]! !== slot) {
      if (words[link] === 0) return;
      link = this.#table.at(words[link]!) + NEXT;
    }
    words[link] = words[at + NEXT]!;
  }

  clear(): void {
    for (let bucket = 0; bucket < this.#state.buckets; bucket++) this.#words[this.#state.bucketAt(bucket)] = 0;
  }

  /** Neighbouring inode numbers share cache lines and pages: that is how directories are read. */
  #bucketAt(device: number, inoLow: number, inoHigh: number): number {
    const mixed = inoLow + Math.imul(inoHigh, 0x9e3779b1) + Math.imul(device, 0x85ebca6b);
    return this.#state.bucketAt((mixed ^ (mixed >>> 11) ^ (mixed >>> 21)) & (this.#state.buckets - 1));
  }
}
