/** Tables in memory that the threads of a device share, and that outlive the process. */
export { NEXT, SLOT_WORDS, type SlotLayout, SlotTable, TABLE_HEAD_WORDS } from "./slot-table.ts";
