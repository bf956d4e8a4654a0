import { FormatError, getU53 } from "../../../formats/bytes/index.ts";
import {
  COMPAT_SETXATTR_IN_BYTES,
  InHeader,
  InitFlag,
  Opcode,
  SetxattrIn,
  WriteIn,
} from "../../../formats/fuse/index.ts";
import { type FuseRequest, IN_ARGS } from "../request.ts";
import { NameKind, type Operation, Tail } from "./operations.ts";

/** Longest name of a directory entry: `FUSE_NAME_MAX`, fs/fuse/fuse_i.h. File systems have their own, lower limits. */
const MAX_ENTRY_NAME_BYTES = 1024;
/** Longest other name, a symlink's target: `PATH_MAX`. */
const MAX_TEXT_BYTES = 4096;
/** `fuse_in_header.total_extlen` counts in these. */
const EXTENSION_UNIT_BYTES = 8;

const SLASH = 0x2f;
const DOT = 0x2e;

/**
 * Decodes the header into the request's fields.
 * @throws FormatError when lengths contradict the bytes that have come.
 */
export function decodeHeader(request: FuseRequest): void {
  const { in: dv, inputBytes } = request;
  if (inputBytes < IN_ARGS)
    throw new FormatError("ERR_TRUNCATED", "fuse_in_header", 0, `needs ${IN_ARGS} bytes, found ${inputBytes}`);
  const len = dv.getUint32(InHeader.at.len, true);
  if (len !== inputBytes + request.data.bytes)
    throw bad(
      "fuse_in_header.len",
      InHeader.at.len,
      `found ${len}, the message has ${inputBytes + request.data.bytes}`,
    );
  const extensionBytes = dv.getUint16(InHeader.at.totalExtlen, true) * EXTENSION_UNIT_BYTES;
  if (IN_ARGS + extensionBytes > inputBytes)
    throw bad("fuse_in_header.total_extlen", InHeader.at.totalExtlen, `found ${extensionBytes} bytes of ${inputBytes}`);
  request.extensionsAt = inputBytes - extensionBytes;
  request.nodeId = getU53(dv, InHeader.at.nodeid, "fuse_in_header.nodeid");
  request.uid = dv.getUint32(InHeader.at.uid, true);
  request.gid = dv.getUint32(InHeader.at.gid, true);
  request.pid = dv.getUint32(InHeader.at.pid, true);
}

/**
 * Checks that what follows the header is built as the operation's messages are, and finds its names.
 * @throws FormatError when it is not.
 */
export function decodeBody(request: FuseRequest, operation: Operation): void {
  const end = request.extensionsAt;
  let at = IN_ARGS + argBytesOf(request, operation);
  if (at > end) throw new FormatError("ERR_TRUNCATED", operation.name, IN_ARGS, `needs ${at} bytes, found ${end}`);
  const { names } = operation;
  if (names.length > 0) {
    request.nameAt = at;
    at = endOfName(request, operation, at, names[0]!) + 1;
    request.nameBytes = at - 1 - request.nameAt;
  }
  if (names.length > 1) {
    request.secondNameAt = at;
    at = endOfName(request, operation, at, names[1]!) + 1;
    request.secondNameBytes = at - 1 - request.secondNameAt;
  }
  if (operation.tail !== Tail.DATA && request.data.bytes !== 0)
    throw bad(operation.name, at, `found ${request.data.bytes} bytes of data, expected none`);
  if (operation.tail !== Tail.REST && at !== end)
    throw bad(operation.name, at, `found ${end - at} bytes more than the operation has`);
  if (operation.opcode === Opcode.WRITE) checkWrite(request);
  else if (operation.opcode === Opcode.SETXATTR) checkValue(request, at);
}

function argBytesOf(request: FuseRequest, operation: Operation): number {
  if (operation.opcode === Opcode.SETXATTR && (request.session!.flags & InitFlag.SETXATTR_EXT) === 0)
    return COMPAT_SETXATTR_IN_BYTES;
  return operation.argBytes;
}

/** Where the NUL of the name at `at` lies. */
function endOfName(request: FuseRequest, operation: Operation, at: number, kind: number): number {
  const { bytes } = request.input;
  const isEntry = kind === NameKind.ENTRY || kind === NameKind.LOOKUP;
  const limit = Math.min(request.extensionsAt, at + (isEntry ? MAX_ENTRY_NAME_BYTES : MAX_TEXT_BYTES) + 1);
  let end = at;
  for (; ; end++) {
    if (end >= limit) throw bad(`${operation.name}: a name`, at, `has no end within ${limit - at} bytes`);
    const char = bytes[end];
    if (char === 0) break;
    if (char === SLASH && isEntry) throw bad(`${operation.name}: a name`, at, "contains a slash");
  }
  if (kind === NameKind.IGNORED) return end;
  if (end === at) throw bad(`${operation.name}: a name`, at, "is empty");
  if (kind === NameKind.ENTRY && isDots(bytes, at, end - at)) throw bad(`${operation.name}: a name`, at, "is . or ..");
  return end;
}

function isDots(bytes: Uint8Array, at: number, length: number): boolean {
  return bytes[at] === DOT && (length === 1 || (length === 2 && bytes[at + 1] === DOT));
}

function checkWrite(request: FuseRequest): void {
  const at = IN_ARGS + WriteIn.at.size;
  const size = request.in.getUint32(at, true);
  if (size !== request.data.bytes) throw bad("fuse_write_in.size", at, `found ${size}, ${request.data.bytes} came`);
}

function checkValue(request: FuseRequest, valueAt: number): void {
  const at = IN_ARGS + SetxattrIn.at.size;
  const size = request.in.getUint32(at, true);
  const found = request.extensionsAt - valueAt;
  if (size !== found) throw bad("fuse_setxattr_in.size", at, `found ${size}, ${found} bytes came`);
}

function bad(field: string, at: number, detail: string): FormatError {
  return new FormatError("ERR_BAD_VALUE", field, at, detail);
}
