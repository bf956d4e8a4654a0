import { compiler } from "./compiler.ts";
import { fileOperations } from "./file-operations.ts";
import { fio } from "./fio.ts";
import { git } from "./git.ts";
import { killed } from "./killed.ts";
import { largeRead, largeWrite } from "./large-files.ts";
import { sqlite } from "./sqlite.ts";
import { settingOnce, testWorkloads } from "./testing.ts";

testWorkloads(settingOnce(), "dax-inode", [fileOperations, git, sqlite, compiler, fio, largeRead, largeWrite, killed]);
