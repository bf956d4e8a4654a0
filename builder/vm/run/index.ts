/** Guests in operation. */
export { findAccelerator } from "./accelerator.ts";
export { ControlReader, type GuestMessage, MAX_CONTROL_LINE } from "./control.ts";
export { EndMark } from "./end-mark.ts";
export { type GuestIo, type GuestOutcome, GuestSession, type SessionOptions } from "./session.ts";
export { Timeline } from "./timeline.ts";
