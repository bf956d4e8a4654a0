/** Parts of the line that stands above a benchmark's tables. */
import type { Machine } from "./machine.ts";

/** When, how often, where, and with which programs. */
export function whenAndWhere(date: string, rounds: number, machine: Machine): string {
  return `${date.slice(0, 10)}, ${rounds} ${rounds === 1 ? "round" : "rounds"}; ${where(machine)}`;
}

/** The machine and the versions of what was measured on it. */
export function where({ cores, processor, arch, memoryBytes, kernel, system, versions }: Machine): string {
  const named = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return `${cores} cores of ${processor} (${arch}), ${gib(memoryBytes)}, Linux ${kernel}, ${system}; ${named.join(", ")}`;
}

/** What the guests of a benchmark have. */
export function guestsOf(results: {
  readonly guestCpus: number;
  readonly guestMemoryBytes: number;
  readonly cases: readonly { readonly runs: readonly { readonly accelerator: string }[] }[];
}): string {
  const accelerators = new Set(results.cases.flatMap(({ runs }) => runs.map(({ accelerator }) => accelerator)));
  return `Guests: ${[`${results.guestCpus} processors`, ...accelerators, gib(results.guestMemoryBytes)].join(", ")}`;
}

/** How many of what was measured others disturbed. */
export function disturbedOf(what: string, measured: readonly { readonly disturbed: boolean }[]): string {
  const disturbed = measured.filter((one) => one.disturbed).length;
  return `Of ${measured.length} ${what} ${disturbed} were disturbed by other processes`;
}

function gib(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(0)} GiB`;
}
