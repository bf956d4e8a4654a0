import { fileOperations } from "./file-operations.ts";
import { fio } from "./fio.ts";
import { git } from "./git.ts";
import { largeRead, largeWrite } from "./large-files.ts";
import { restarts } from "./restarts.ts";
import { SHORT } from "./sizes.ts";
import { sqlite } from "./sqlite.ts";
import { settingOnce, testTwoGuests, testWorkloads } from "./testing.ts";

// The seed of DAX: so much is read without a page of it cached.
const sizes = { ...SHORT, largeBytes: 512 << 20 };
const setting = settingOnce();
testWorkloads(setting, "dax-always", [fileOperations, git, sqlite, fio, largeRead, largeWrite, restarts], sizes);
testTwoGuests(setting, "dax-always");
