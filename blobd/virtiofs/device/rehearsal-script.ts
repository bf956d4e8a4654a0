import { getU53 } from "../../../formats/bytes/index.ts";
import {
  AttrOut,
  CreateIn,
  EntryOut,
  FlushIn,
  ForgetIn,
  FUSE_MAJOR,
  FUSE_MINOR,
  GETATTR_FH,
  GetattrIn,
  GetxattrIn,
  InitIn,
  InitOut,
  MkdirIn,
  Opcode,
  OpenIn,
  OpenOut,
  ReadIn,
  ReleaseIn,
  RemovemappingIn,
  RemovemappingOne,
  SetattrFlag,
  SetattrIn,
  SetupMappingFlag,
  SetupmappingIn,
  WriteIn,
  WriteOut,
} from "../../../formats/fuse/index.ts";
import { RANGE_BYTES } from "../../fuse/index.ts";
import { PAGE_SIZE } from "../../sys/index.ts";
import { REHEARSAL_SLOTS } from "../../vhost/index.ts";
import type { Asker } from "./rehearsal-asker.ts";

/** Files that are there: `file-0` and so on. */
export const FILES = 16;
export const FILE_BYTES = 8192;
/** And one that is as long as a range of the window. */
export const MAPPED = "mapped";
const DIRENTS_BYTES = 32 << 10;
/** Of a READ or WRITE: some are neighbours in memory, most are not. */
const MOST_PAGES = 9;
const O_RDONLY = 0;
const O_RDWR = 2;
const O_EXCL_CREAT = 0o300;
const NOBODY = 65_534;

/** INIT. */
export function* startSession(asker: Asker): Generator<void> {
  const flags = 0xffff_ffff;
  const args = of(InitIn.size, [InitIn.at.major, FUSE_MAJOR], [InitIn.at.minor, FUSE_MINOR], [InitIn.at.flags, flags]);
  asker.ask(0, { opcode: Opcode.INIT, args, answerBytes: InitOut.size });
  yield;
}

/** DESTROY and INIT: a guest's INIT comes to code that is compiled, and must not be the first in it. */
export function* restartSession(asker: Asker): Generator<void> {
  asker.ask(0, { opcode: Opcode.DESTROY });
  yield;
  yield* startSession(asker);
}

/** What programs do to files: a request of each kind, one at a time or a few at once. */
export function* playRound(asker: Asker, round: number): Generator<void> {
  const { ask } = asker;
  yield* playForgets(asker);
  ask(0, { opcode: Opcode.LOOKUP, name: `file-${round % FILES}`, answerBytes: EntryOut.size });
  yield;
  const nodeId = nodeOf(asker, 0);
  for (let slot = 0; slot < REHEARSAL_SLOTS; slot++)
    ask(slot, { opcode: Opcode.GETATTR, nodeId, args: of(GetattrIn.size), answerBytes: AttrOut.size });
  yield;
  const isWriter = round % 2 === 0;
  const open = of(OpenIn.size, [OpenIn.at.flags, isWriter ? O_RDWR : O_RDONLY]);
  ask(0, { opcode: Opcode.OPEN, nodeId, args: open, answerBytes: OpenOut.size });
  yield;
  yield* playData(asker, nodeId, asker.answer(0).getUint32(OpenOut.at.fh, true), fhHigh(asker, 0), isWriter);
  yield* playAttributes(asker, nodeId);
  forget(asker, nodeId);
  yield;
  yield* playNewFile(asker, round % 2 === 0 ? 0 : NOBODY);
  yield* playFolder(asker);
}

/** A range of a file into the window, and out of it. @param answer has the front-end answer */
export function* playMapping(asker: Asker, answer: (isMap: boolean) => void): Generator<void> {
  asker.ask(0, { opcode: Opcode.LOOKUP, name: MAPPED, answerBytes: EntryOut.size });
  yield;
  const nodeId = nodeOf(asker, 0);
  const { fh, len, flags } = SetupmappingIn.at;
  const none = 0xffff_ffff;
  const both = SetupMappingFlag.READ | SetupMappingFlag.WRITE;
  const args = of(SetupmappingIn.size, [fh, none], [fh + 4, none], [len, RANGE_BYTES], [flags, both]);
  answer(true);
  asker.ask(0, { opcode: Opcode.SETUPMAPPING, nodeId, args });
  yield;
  const one = of(RemovemappingIn.size + RemovemappingOne.size, [RemovemappingIn.at.count, 1], [ONE_LEN, RANGE_BYTES]);
  answer(false);
  asker.ask(0, { opcode: Opcode.REMOVEMAPPING, nodeId, args: one });
  yield;
  forget(asker, nodeId);
  yield;
}
const ONE_LEN = RemovemappingIn.size + RemovemappingOne.at.len;

/** LOOKUP and FORGET. */
export function* playForgets(asker: Asker): Generator<void> {
  asker.ask(0, { opcode: Opcode.LOOKUP, name: "file-1", answerBytes: EntryOut.size });
  yield;
  forget(asker, nodeOf(asker, 0));
  yield;
}

/** What is asked of a file by its node: its capabilities, as before each first write; other times, mode and length. */
function* playAttributes(asker: Asker, nodeId: number): Generator<void> {
  const { ask } = asker;
  const attr = { opcode: Opcode.GETXATTR, nodeId, name: "security.capability", mayFail: true };
  for (const size of [0, 64]) {
    ask(0, { ...attr, args: of(GetxattrIn.size, [GetxattrIn.at.size, size]), answerBytes: Math.max(size, 8) });
    yield;
  }
  for (const valid of [SetattrFlag.ATIME | SetattrFlag.MTIME, SetattrFlag.MODE, SetattrFlag.SIZE]) {
    const { mode, size } = SetattrIn.at;
    const change = of(SetattrIn.size, [SetattrIn.at.valid, valid], [mode, 0o100600], [size, FILE_BYTES]);
    ask(0, { opcode: Opcode.SETATTR, nodeId, args: change, answerBytes: AttrOut.size });
    yield;
  }
}

function* playData(asker: Asker, nodeId: number, fhLow: number, high: number, isWriter: boolean): Generator<void> {
  const { ask } = asker;
  const fh = (at: number): [number, number][] => [
    [at, fhLow],
    [at + 4, high],
  ];
  const read = (bytes: number) => ({
    ...{ opcode: Opcode.READ, nodeId, answerBytes: bytes, inPages: true },
    args: of(ReadIn.size, ...fh(ReadIn.at.fh), [ReadIn.at.size, bytes]),
  });
  const write = (bytes: number) => ({
    ...{ opcode: Opcode.WRITE, nodeId, dataBytes: bytes, answerBytes: WriteOut.size },
    args: of(WriteIn.size, ...fh(WriteIn.at.fh), [WriteIn.at.size, bytes]),
  });
  ask(0, read(PAGE_SIZE));
  yield;
  ask(0, read(MOST_PAGES * PAGE_SIZE));
  yield;
  const asked = of(GetattrIn.size, ...fh(GetattrIn.at.fh), [GetattrIn.at.getattrFlags, GETATTR_FH]);
  ask(0, { opcode: Opcode.GETATTR, nodeId, args: asked, answerBytes: AttrOut.size });
  yield;
  if (isWriter) {
    const valid = SetattrFlag.FH | SetattrFlag.SIZE;
    const cut = of(
      SetattrIn.size,
      ...fh(SetattrIn.at.fh),
      [SetattrIn.at.valid, valid],
      [SetattrIn.at.size, FILE_BYTES],
    );
    ask(0, { opcode: Opcode.SETATTR, nodeId, args: cut, answerBytes: AttrOut.size });
    yield;
    ask(0, write(PAGE_SIZE));
    ask(1, write(MOST_PAGES * PAGE_SIZE));
    yield;
    ask(0, { opcode: Opcode.FLUSH, nodeId, args: of(FlushIn.size, ...fh(FlushIn.at.fh)) });
    yield;
  }
  ask(0, { opcode: Opcode.RELEASE, nodeId, args: of(ReleaseIn.size, ...fh(ReleaseIn.at.fh)) });
  yield;
}

function* playNewFile(asker: Asker, uid: number): Generator<void> {
  const { ask } = asker;
  const name = "new";
  ask(0, { opcode: Opcode.LOOKUP, name, answerBytes: EntryOut.size, mayFail: true });
  yield;
  const args = of(CreateIn.size, [CreateIn.at.flags, O_RDWR | O_EXCL_CREAT], [CreateIn.at.mode, 0o100644]);
  ask(0, { opcode: Opcode.CREATE, name, uid, args, answerBytes: EntryOut.size + OpenOut.size });
  yield;
  const nodeId = nodeOf(asker, 0);
  const fhLow = asker.answer(0).getUint32(EntryOut.size + OpenOut.at.fh, true);
  const high = fhHigh(asker, EntryOut.size);
  yield* playAttributes(asker, nodeId);
  yield* playData(asker, nodeId, fhLow, high, true);
  ask(0, { opcode: Opcode.UNLINK, name });
  yield;
  forget(asker, nodeId);
  yield;
}

function* playFolder(asker: Asker): Generator<void> {
  const { ask } = asker;
  const name = "folder";
  ask(0, { opcode: Opcode.MKDIR, name, args: of(MkdirIn.size, [MkdirIn.at.mode, 0o755]), answerBytes: EntryOut.size });
  yield;
  forget(asker, nodeOf(asker, 0));
  yield;
  ask(0, { opcode: Opcode.RMDIR, name });
  yield;
  ask(0, { opcode: Opcode.SYMLINK, name: "link\0target", answerBytes: EntryOut.size });
  yield;
  forget(asker, nodeOf(asker, 0));
  yield;
  ask(0, { opcode: Opcode.UNLINK, name: "link" });
  yield;
  ask(0, { opcode: Opcode.OPENDIR, args: of(OpenIn.size), answerBytes: OpenOut.size });
  yield;
  const fhLow = asker.answer(0).getUint32(OpenOut.at.fh, true);
  const high = fhHigh(asker, 0);
  const args = of(ReadIn.size, [ReadIn.at.fh, fhLow], [ReadIn.at.fh + 4, high], [ReadIn.at.size, DIRENTS_BYTES]);
  for (const opcode of [Opcode.READDIR, Opcode.READDIRPLUS]) {
    ask(0, { opcode, args, answerBytes: DIRENTS_BYTES, inPages: true });
    yield;
  }
  const release = of(ReleaseIn.size, [ReleaseIn.at.fh, fhLow], [ReleaseIn.at.fh + 4, high]);
  ask(0, { opcode: Opcode.RELEASEDIR, args: release });
  yield;
}

function forget(asker: Asker, nodeId: number): void {
  asker.ask(0, { opcode: Opcode.FORGET, nodeId, args: of(ForgetIn.size, [ForgetIn.at.nlookup, 1]), answerBytes: -1 });
}

function nodeOf(asker: Asker, slot: number): number {
  return getU53(asker.answer(slot), EntryOut.at.nodeid, "fuse_entry_out.nodeid");
}

function fhHigh(asker: Asker, at: number): number {
  return asker.answer(0).getUint32(at + OpenOut.at.fh + 4, true);
}

/** A structure with these words set and all others zero. */
function of(size: number, ...words: readonly (readonly [at: number, value: number])[]): Uint8Array {
  const dv = new DataView(new ArrayBuffer(size));
  for (const [at, value] of words) dv.setUint32(at, value, true);
  return new Uint8Array(dv.buffer);
}
