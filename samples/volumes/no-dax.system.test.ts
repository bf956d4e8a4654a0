import { fileOperations } from "./file-operations.ts";
import { fio } from "./fio.ts";
import { git } from "./git.ts";
import { killed } from "./killed.ts";
import { restarts } from "./restarts.ts";
import { sqlite } from "./sqlite.ts";
import { settingOnce, testWorkloads } from "./testing.ts";

// The same device without a window, and QEMU's own, each in a guest.
const setting = settingOnce();
testWorkloads(setting, "no-dax", [git, sqlite, fio]);
testWorkloads(setting, "vhost-user-fs", [fileOperations, fio, killed, restarts]);
