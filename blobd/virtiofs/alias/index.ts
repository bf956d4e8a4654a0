/** Files under another size: what a VMM is given to map, where it would refuse the file itself. */
export { Aliases, openAlias } from "./aliases.ts";
