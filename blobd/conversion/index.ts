/**
 * Converter processes as a daemon uses them: a pool of `erofsify converter` children that convert layers, merge metas,
 * write diffs and prune, so that hostile bytes are parsed in a process that may die. The messages are the contract with
 * builder/converter, which imports them from here. Reasons: docs/decisions/0010-converter-processes.md.
 */
export type { ConverterSettings, LayerBytes } from "./converter-process.ts";
export { ConversionError } from "./errors.ts";
export * from "./messages.ts";
export { ConverterPool, type PoolSize } from "./pool.ts";
