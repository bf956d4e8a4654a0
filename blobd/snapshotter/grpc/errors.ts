import { status } from "@grpc/grpc-js";

/** containerd's kinds of errors by the gRPC codes that carry them (its errdefs and errgrpc). */
const CODES = {
  "invalid argument": status.INVALID_ARGUMENT,
  "not found": status.NOT_FOUND,
  "already exists": status.ALREADY_EXISTS,
  "failed precondition": status.FAILED_PRECONDITION,
  "not implemented": status.UNIMPLEMENTED,
  "resource exhausted": status.RESOURCE_EXHAUSTED,
  unavailable: status.UNAVAILABLE,
} as const;
export type ErrorKind = keyof typeof CODES;

/**
 * An answer that containerd understands: its clients act on the kind. "not implemented" from a differ makes it try the
 * next one.
 *
 * @example throw new ServiceError("not found", `snapshot ${key} does not exist`);
 */
export class ServiceError extends Error {
  override readonly name = "ServiceError";
  readonly kind: ErrorKind;
  /** The gRPC status code. */
  readonly code: number;

  constructor(kind: ErrorKind, message: string, options?: { cause?: unknown }) {
    super(`${message}: ${kind}`, options);
    this.kind = kind;
    this.code = CODES[kind];
  }
}
