/** What benchmarks share: quiet moments, costs of commands, and how results are shown. */
export { type Bar, type BarChart, drawCharts } from "./chart.ts";
export { processCpu } from "./cpu.ts";
export { disturbedOf, guestsOf, whenAndWhere, where } from "./headline.ts";
export { LAB, LAB_VERSIONS } from "./lab.ts";
export { describeMachine, type Machine, type VersionCommand } from "./machine.ts";
export { type Command, type Cost, measure, type Run } from "./measure.ts";
export { calibrate, type Disturbance, isDisturbed, type QuietOptions, whenQuiet } from "./quiet.ts";
export { publish, saveReport } from "./save.ts";
export { say } from "./say.ts";
export { markdownReport, type Report, type Rows, type Section, textReport } from "./sections.ts";
export { type Spread, spread } from "./stats.ts";
export { formatTable, markdownTable } from "./table.ts";
export { withWorkFolder } from "./work-folder.ts";
