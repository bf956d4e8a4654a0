/** What a filter is made of. */
export type Token =
  | { readonly type: "field" | "operator" | "value"; readonly text: string }
  /** A quoted text, unquoted; `quote` is the character around it. */
  | { readonly type: "quoted"; readonly text: string; readonly quote: string }
  | { readonly type: "." | "," | "end" };

/** A filter that cannot be understood: where, and what was found. */
export class FilterError extends Error {
  override readonly name = "FilterError";

  constructor(filter: string, at: number, detail: string) {
    super(`filter ${JSON.stringify(filter)} at character ${at}: ${detail}`);
  }
}

/** Longest filter, in characters: snapshot names have at most some hundred. */
export const MAX_FILTER_LENGTH = 16_384;

const FIELD = /[A-Za-z][A-Za-z0-9_]*/y;
const OPERATOR = /[=!~]+/y;
const VALUE = /[^\s,]+/y;
const SPACE = /\s*/y;
const SIMPLE_ESCAPES: Readonly<Record<string, string>> = {
  a: "\u0007",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  "\\": "\\",
  "'": "'",
  '"': '"',
  "/": "/",
  "|": "|",
};
const HEX_ESCAPES: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };

/** Reads the tokens of a filter, in the order in which its parser asks for them: a value looks like anything. */
export class Scanner {
  readonly filter: string;
  #at = 0;

  constructor(filter: string) {
    this.filter = filter;
  }

  /** The place of the next token, in characters. */
  get at(): number {
    return this.#at;
  }

  /** A field's name, a quoted one, a dot or comma, an operator, or the end. @throws FilterError */
  next(): Token {
    this.#match(SPACE);
    const char = this.filter[this.#at];
    if (char === undefined) return { type: "end" };
    if (char === "." || char === ",") {
      this.#at++;
      return { type: char };
    }
    if (char === '"') return this.#quoted(char);
    const operator = this.#match(OPERATOR);
    if (operator !== "") return { type: "operator", text: operator };
    const field = this.#match(FIELD);
    if (field !== "") return { type: "field", text: field };
    throw this.error(`found ${JSON.stringify(char)}`);
  }

  /** A value: quoted (a regular expression also by / or |), or all up to a space or comma. @throws FilterError */
  value(quotes: string): Token {
    this.#match(SPACE);
    const char = this.filter[this.#at];
    if (char !== undefined && quotes.includes(char)) return this.#quoted(char);
    if (char === "/" || char === "|" || char === '"') throw this.error(`found ${char}, which quotes nothing here`);
    const text = this.#match(VALUE);
    if (text === "") throw this.error("expected a value");
    return { type: "value", text };
  }

  error(detail: string): FilterError {
    return new FilterError(this.filter, this.#at, detail);
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const text = pattern.exec(this.filter)?.[0] ?? "";
    this.#at += text.length;
    return text;
  }

  /** Go's string syntax between any of the quotes. */
  #quoted(quote: string): Token {
    this.#at++;
    let text = "";
    for (;;) {
      const char = this.filter[this.#at];
      if (char === undefined || char === "\n") throw this.error(`expected a closing ${quote}`);
      this.#at++;
      if (char === quote) return { type: "quoted", text, quote };
      text += char === "\\" ? this.#escape(quote) : char;
    }
  }

  #escape(quote: string): string {
    const char = this.filter[this.#at++] ?? "";
    const simple = SIMPLE_ESCAPES[char];
    if (simple !== undefined) return simple;
    // In a regular expression other escapes are the expression's own.
    const digits = HEX_ESCAPES[char] ?? (/[0-7]/.test(char) ? 3 : 0);
    if (digits === 0 && quote !== '"') return `\\${char}`;
    const octal = digits === 3;
    const from = octal ? this.#at - 1 : this.#at;
    const code = this.filter.slice(from, from + digits);
    const valid = octal ? /^[0-3][0-7]{2}$/ : /^[0-9A-Fa-f]+$/;
    const point = Number.parseInt(code, octal ? 8 : 16);
    if (code.length !== digits || !valid.test(code) || point > 0x10ffff) throw this.error("expected an escape of Go's");
    this.#at = from + digits;
    return String.fromCodePoint(point);
  }
}
