/** What is wrong with the bytes: too few of them, a value outside its range, or a feature this code does not know. */
export type FormatErrorCode = "ERR_TRUNCATED" | "ERR_BAD_VALUE" | "ERR_UNSUPPORTED";

/**
 * Bytes from outside that break their format: where, what was found, what was expected.
 *
 * @example throw new FormatError("ERR_BAD_VALUE", "erofs_super_block.blkszbits", 1036, "found 16, expected 9 to 12");
 */
export class FormatError extends Error {
  override readonly name = "FormatError";
  readonly code: FormatErrorCode;
  /** The structure and field, in the specification's words. */
  readonly field: string;
  /** Where the field starts, in bytes from the start of the input. */
  readonly offset: number;
  /** What was found and what was expected. */
  readonly detail: string;

  constructor(code: FormatErrorCode, field: string, offset: number, detail: string) {
    super(`${field} at byte ${offset}: ${detail}`);
    this.code = code;
    this.field = field;
    this.offset = offset;
    this.detail = detail;
  }
}
