/** JSON from outside, read field by field: every value is checked for its kind before it is used. */

/** Not JSON at all; a value that breaks its rules; a document or feature this code does not know. */
export type DocumentErrorCode = "ERR_NOT_JSON" | "ERR_BAD_VALUE" | "ERR_UNSUPPORTED";

/**
 * A JSON document that breaks its format: where (`manifest.layers[2].size`), what was found, what was expected.
 */
export class DocumentError extends Error {
  override readonly name = "DocumentError";
  readonly code: DocumentErrorCode;
  readonly path: string;
  readonly detail: string;

  constructor(code: DocumentErrorCode, path: string, detail: string) {
    super(`${path}: ${detail}`);
    this.code = code;
    this.path = path;
    this.detail = detail;
  }
}

/** A value as an error shows it: short, on one line, never walking into it (it may be nested without bound). */
function shown(value: unknown): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "object" && value !== null) return "an object";
  return JSON.stringify(typeof value === "string" && value.length > 100 ? `${value.slice(0, 100)}…` : value);
}

/** One object of a document, with its place in it. */
export class JsonObject {
  readonly #value: Readonly<Record<string, unknown>>;
  /** Where the object is: `manifest.layers[2]`. */
  readonly path: string;

  private constructor(value: unknown, path: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw new DocumentError("ERR_BAD_VALUE", path, `found ${shown(value)}, expected an object`);
    this.#value = value as Record<string, unknown>;
    this.path = path;
  }

  /**
   * Parses a document whose root is an object.
   * @param limit Most bytes accepted.
   * @throws DocumentError ERR_NOT_JSON or ERR_BAD_VALUE.
   */
  static parse(bytes: Uint8Array, path: string, limit: number): JsonObject {
    return new JsonObject(parseJson(bytes, path, limit), path);
  }

  /** Parses a document whose root is an array of at most `maxItems` objects. */
  static parseArray(bytes: Uint8Array, path: string, limit: number, maxItems: number): JsonObject[] {
    return objects(parseJson(bytes, path, limit), path, maxItems);
  }

  /** The value itself, as it was parsed: to be written again with changes. */
  get raw(): Readonly<Record<string, unknown>> {
    return this.#value;
  }

  has(key: string): boolean {
    return this.#get(key) !== undefined;
  }

  /** Keys in document order. */
  keys(): string[] {
    return Object.keys(this.#value);
  }

  // null means absent: Go's encoders write it for empty slices and pointers.
  #get(key: string): unknown {
    return Object.hasOwn(this.#value, key) ? (this.#value[key] ?? undefined) : undefined;
  }

  /** The error for a value of a key, whatever it is. */
  wrong(key: string, expected: string): DocumentError {
    return new DocumentError(
      "ERR_BAD_VALUE",
      `${this.path}.${key}`,
      `found ${shown(this.#get(key))}, expected ${expected}`,
    );
  }

  string(key: string): string {
    const value = this.optionalString(key);
    if (value === undefined) throw this.wrong(key, "a string");
    return value;
  }

  optionalString(key: string): string | undefined {
    const value = this.#get(key);
    if (value !== undefined && typeof value !== "string") throw this.wrong(key, "a string");
    return value;
  }

  optionalBoolean(key: string): boolean | undefined {
    const value = this.#get(key);
    if (value !== undefined && typeof value !== "boolean") throw this.wrong(key, "true or false");
    return value;
  }

  /** A whole number from 0 to `max`. */
  integer(key: string, max: number): number {
    const value = this.#get(key);
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0 || value > max)
      throw this.wrong(key, `a whole number from 0 to ${max}`);
    return value;
  }

  object(key: string): JsonObject {
    return new JsonObject(this.#get(key), `${this.path}.${key}`);
  }

  optionalObject(key: string): JsonObject | undefined {
    return this.has(key) ? this.object(key) : undefined;
  }

  objects(key: string, maxItems: number): JsonObject[] {
    return objects(this.#get(key), `${this.path}.${key}`, maxItems);
  }

  /** An array of strings; absent is empty. */
  strings(key: string, maxItems: number): string[] {
    const value = this.#get(key) ?? [];
    if (!Array.isArray(value) || value.length > maxItems)
      throw this.wrong(key, `an array of at most ${maxItems} strings`);
    for (const item of value) if (typeof item !== "string") throw this.wrong(key, "strings only");
    return value as string[];
  }

  /** An object whose values are strings; absent is empty. */
  stringMap(key: string, maxItems: number): Map<string, string> {
    const map = new Map<string, string>();
    const object = this.optionalObject(key);
    if (object === undefined) return map;
    const keys = object.keys();
    if (keys.length > maxItems) throw this.wrong(key, `at most ${maxItems} entries`);
    for (const name of keys) {
      const value = object.optionalString(name);
      if (value !== undefined) map.set(name, value);
    }
    return map;
  }

  static array(value: unknown, path: string, maxItems: number): JsonObject[] {
    if (!Array.isArray(value))
      throw new DocumentError("ERR_BAD_VALUE", path, `found ${shown(value)}, expected an array`);
    if (value.length > maxItems)
      throw new DocumentError("ERR_BAD_VALUE", path, `has ${value.length} items, at most ${maxItems} are accepted`);
    return value.map((item, i) => new JsonObject(item, `${path}[${i}]`));
  }
}

function objects(value: unknown, path: string, maxItems: number): JsonObject[] {
  return JsonObject.array(value, path, maxItems);
}

function parseJson(bytes: Uint8Array, path: string, limit: number): unknown {
  if (bytes.length > limit)
    throw new DocumentError("ERR_BAD_VALUE", path, `is ${bytes.length} bytes long, at most ${limit} are accepted`);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    const start = JSON.stringify(Buffer.from(bytes.subarray(0, 40)).toString("latin1"));
    throw new DocumentError("ERR_NOT_JSON", path, `is not JSON (${(error as Error).message}); it starts with ${start}`);
  }
}
