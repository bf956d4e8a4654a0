/** The guest's kernel: which one, what it can, which modules it needs. */
export { findKernel, type GuestKernel, type KernelOptions } from "./find.ts";
export { type ModuleLists, type ModulePlan, moduleName, planModules } from "./modules.ts";
export { type Needs, type Requirement, requireKernel } from "./requirements.ts";
export { BZIMAGE_HEAD_BYTES, bzImageVersion, vmlinuxVersion } from "./version.ts";
