/** containerd's filters, as its List calls take them. */
export { type Fields, type Filter, parseFilters } from "./parse.ts";
export { FilterError } from "./scanner.ts";
