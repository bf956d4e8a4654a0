/** Errors as the acceleration-service words them: `{"code", "message"}`. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly statusCode: number;
  readonly code: string;

  constructor(statusCode: number, code: string, message: string) {
    super(message);
    this.statusCode = statusCode;
    this.code = code;
  }
}

export const illegal = (message: string) => new ApiError(400, "ERR_ILLEGAL_PARAMETER", message);
export const absent = (message: string) => new ApiError(404, "ERR_NOT_FOUND", message);
export const conflict = (message: string) => new ApiError(409, "ERR_CONFLICT", message);

/** Codes for errors that the HTTP layer itself finds. */
export function codeOfStatus(status: number): string {
  if (status === 401) return "ERR_UNAUTHORIZED";
  if (status === 404) return "ERR_INVALID_ENDPOINT";
  if (status === 413) return "ERR_TOO_LARGE";
  if (status >= 500) return "ERR_UNAVAILABLE";
  return "ERR_ILLEGAL_PARAMETER";
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Whether a conversion can have this id. */
export function isId(text: string): boolean {
  return UUID.test(text);
}
