/**
 * A job that a converter could not do. `code` is that of the error behind it: ERR_TRUNCATED, ERR_BAD_VALUE and
 * ERR_UNSUPPORTED for the layer's bytes, ERR_DIGEST, ERR_STORE_FULL and so on; ERR_CONVERTER when the process ended
 * while it had the job, ERR_ABORTED when the job was called off.
 */
export class ConversionError extends Error {
  override readonly name = "ConversionError";
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}
