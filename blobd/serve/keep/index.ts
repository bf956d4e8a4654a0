/** A small process that holds a service's mount while others serve it: it loads nothing that it does not need. */
export { holdAlone } from "./alone.ts";
export { type KeeperOptions, keepServing } from "./keeper.ts";
export { type Held, type Noted, TABLE_FD } from "./messages.ts";
export { defaultMountPoint, makeMountPoint } from "./mount-point.ts";
