/** What an HTTP status means for the one who asked. */
import { DocumentError, JsonObject, SourceError } from "../../formats/oci/index.ts";
import { type Answer, header, readBody } from "./http.ts";
import { PassingError, retryAfterMs } from "./retry.ts";

const MAX_ERROR_BYTES = 64 << 10;
const MAX_ERRORS = 100;

/** The error for an answer that is not a success. Reads the body for the server's own words. */
export async function statusError(answer: Answer, what: string, hint = ""): Promise<SourceError> {
  const { url, response } = answer;
  const status = response.statusCode;
  const said = await serverWords(answer);
  const message = `${what}: ${url.host} answered ${status}${said && ` (${said})`}`;
  if (status === 404)
    return new SourceError("ERR_NOT_FOUND", `${message}: it does not exist there${hint && `, or ${hint}`}`);
  if (status === 401 || status === 403)
    return new SourceError("ERR_UNAUTHORIZED", `${message}: access denied${hint && `; ${hint}`}`);
  if (status === 408 || status === 425 || status === 429 || status >= 500) {
    const wait = retryAfterMs(header(response, "retry-after"), Date.now());
    return new PassingError("ERR_NETWORK", message, wait === undefined ? {} : { retryAfterMs: wait });
  }
  return new SourceError("ERR_NETWORK", message);
}

/** `CODE: message` of a registry's error document, or "". OCI distribution spec, "Error Codes". */
async function serverWords(answer: Answer): Promise<string> {
  try {
    const body = await readBody(answer, MAX_ERROR_BYTES, "error");
    const errors = JsonObject.parse(body, "error", MAX_ERROR_BYTES).objects("errors", MAX_ERRORS);
    const words = errors.map((e) => [e.optionalString("code"), e.optionalString("message")].filter(Boolean).join(": "));
    // Somebody else's text on the user's terminal: one line, no control characters.
    return words
      .join("; ")
      .replace(/[^\x20-\x7e\u00a0-\uffff]+/g, " ")
      .slice(0, 300);
  } catch (error) {
    if (error instanceof DocumentError || error instanceof SourceError) return "";
    throw error;
  }
}
