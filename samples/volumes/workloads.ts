import { compiler } from "./compiler.ts";
import { fileOperations } from "./file-operations.ts";
import { fio } from "./fio.ts";
import { git } from "./git.ts";
import { killed } from "./killed.ts";
import { largeRead, largeWrite } from "./large-files.ts";
import type { Workload } from "./place.ts";
import { restarts } from "./restarts.ts";
import { sqlite } from "./sqlite.ts";

/** In the order in which they run in one guest. */
export const WORKLOADS: readonly Workload[] = [
  fileOperations,
  git,
  sqlite,
  compiler,
  fio,
  largeRead,
  largeWrite,
  killed,
  restarts,
];
