/** What can keep a guest from starting or ending as it should. */
export type VmErrorCode =
  | "ERR_NO_VMM"
  | "ERR_NO_KERNEL"
  | "ERR_KERNEL_OPTION"
  | "ERR_NO_BUSYBOX"
  | "ERR_PLATFORM"
  | "ERR_NO_USER"
  | "ERR_NO_COMMAND"
  | "ERR_BLOB"
  | "ERR_MEMORY"
  | "ERR_LIMIT"
  | "ERR_SCRATCH"
  | "ERR_GUEST";

/** A guest that cannot be started, or that ended without telling how its command ended. The message says what to do. */
export class VmError extends Error {
  override readonly name = "VmError";
  readonly code: VmErrorCode;

  constructor(code: VmErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}
