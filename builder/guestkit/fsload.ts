import { compileProgram } from "./programs.ts";

/** What `fsload` found. */
export interface FsloadResult {
  readonly operations: number;
  readonly bytes: number;
  readonly seconds: number;
}

/** Compiles fsload.c: it gives a file system one kind of work, in a guest or on the host. @returns the program's path */
export function compileFsload(folder: string): Promise<string> {
  return compileProgram("fsload", folder);
}

/** @param line what it printed: operations, bytes, nanoseconds */
export function parseFsload(line: string): FsloadResult {
  const [, operations, bytes, nanoseconds] = /^(\d+) (\d+) (\d+)\n$/.exec(line)?.map(Number) ?? [];
  if (operations === undefined || bytes === undefined || nanoseconds === undefined)
    throw new Error(`fsload printed ${JSON.stringify(line.slice(0, 200))}`);
  return { operations, bytes, seconds: nanoseconds / 1e9 };
}
