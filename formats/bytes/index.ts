/** What every codec here stands on: errors, byte strings, struct declarations, byte sources. */
export { type ByteString, escapeBytes, fromBytes, fromText, mapKey, toBytes, toText } from "./bytestring.ts";
export { FormatError, type FormatErrorCode } from "./errors.ts";
export { roundUp } from "./round.ts";
export { type ByteSource, bytesSource, outside } from "./source.ts";
export {
  type FieldKind,
  type FieldTable,
  getI53,
  getU53,
  type Struct,
  type StructView,
  setU53,
  struct,
} from "./struct.ts";
