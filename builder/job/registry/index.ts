/** What the service itself asks registries. */
export { digestOfTag, type Inspection, inspect, isIndexInPlace } from "./inspect.ts";
