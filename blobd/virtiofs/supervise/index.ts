/** A device whose work is done by a process that may die: another one takes over. */
export { SupervisedDataPlane, type SupervisorOptions } from "./supervised-data-plane.ts";
