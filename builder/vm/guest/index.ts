/** What runs inside the guest: its initramfs, and how it becomes the image's command. */
export { type Accounts, type Identity, resolveUser } from "./accounts.ts";
export { type EnterOptions, enterProgram, type Terminal } from "./enter-program.ts";
export { baseInitramfs, runInitramfs } from "./initramfs.ts";
export { type GuestProcess, guestProcess, type ProcessOptions } from "./process.ts";
export { formatSettings, type GuestSettings } from "./settings.ts";
export { verityProgram } from "./verity-program.ts";
