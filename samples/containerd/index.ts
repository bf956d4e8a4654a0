/** containerd with the blobd snapshotter: configuration, and the lab's containerd for tests and benchmarks. */
export { containerdConfig, SNAPSHOTTER } from "./config.ts";
export { addConverted } from "./converted.ts";
export { ContainerdLab, type LabCommand } from "./lab.ts";
