/** The DAX window: which file is mapped where, in memory shared by threads and outliving processes. */
export { DaxWindowTable, type WindowOptions } from "./dax-window-table.ts";
export { MAX_WINDOW_BYTES, WindowTable } from "./table.ts";
