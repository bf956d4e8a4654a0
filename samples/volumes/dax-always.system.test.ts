import { settingOnce, testTwoGuests, testWorkloads } from "./testing.ts";
import { WORKLOADS } from "./workloads.ts";

const setting = settingOnce();
testWorkloads(setting, "dax-always", WORKLOADS);
testTwoGuests(setting, "dax-always");
