import { compiler } from "./compiler.ts";
import { fileOperations } from "./file-operations.ts";
import { fio } from "./fio.ts";
import { git } from "./git.ts";
import { largeRead } from "./large-files.ts";
import { sqlite } from "./sqlite.ts";
import { settingOnce, testWorkloads } from "./testing.ts";

const setting = settingOnce();
testWorkloads(setting, "vhost-user-fs", [fileOperations, git, compiler, fio, largeRead]);
testWorkloads(setting, "no-dax", [fileOperations, sqlite]);
