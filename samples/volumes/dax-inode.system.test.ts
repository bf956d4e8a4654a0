import { fileOperations } from "./file-operations.ts";
import { fio } from "./fio.ts";
import { git } from "./git.ts";
import { largeWrite } from "./large-files.ts";
import { sqlite } from "./sqlite.ts";
import { settingOnce, testTwoGuests, testWorkloads } from "./testing.ts";

const setting = settingOnce();
testWorkloads(setting, "dax-inode", [fileOperations, git, sqlite, fio, largeWrite]);
testTwoGuests(setting, "dax-inode");
