/** The FUSE protocol as bytes: opcodes, flags, messages. */
export * from "./flags.ts";
export * from "./messages.ts";
export { Notify, Opcode } from "./opcodes.ts";
