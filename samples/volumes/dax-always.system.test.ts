import { fileOperations } from "./file-operations.ts";
import { fio } from "./fio.ts";
import { largeRead, largeWrite } from "./large-files.ts";
import { settingOnce, testWorkloads } from "./testing.ts";

testWorkloads(settingOnce(), "dax-always", [fileOperations, fio, largeRead, largeWrite]);
