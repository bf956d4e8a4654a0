/** What the service itself asks registries. */
export { digestOfTag, type Inspection, inspect } from "./inspect.ts";
