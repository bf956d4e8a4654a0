import { FilterError, MAX_FILTER_LENGTH, Scanner, type Token } from "./scanner.ts";

/** What a filter looks at: the value of a field by its path, or undefined when there is none. */
export type Fields = (path: readonly string[]) => string | undefined;
/** Whether something is wanted. */
export type Filter = (fields: Fields) => boolean;

const OPERATORS = {
  "==": (value: string) => (found: string | undefined) => found === value,
  // For these two, what is not there is empty.
  "!=": (value: string) => (found: string | undefined) => (found ?? "") !== value,
  "~=": (value: string) => {
    const pattern = new RegExp(value);
    return (found: string | undefined) => pattern.test(found ?? "");
  },
} as const;
/** Most filters in one request. */
const MAX_FILTERS = 1000;

/**
 * A filter out of containerd's language (pkg/filters/parser.go there):
 *
 *     selectors := selector ("," selector)*        all of them must match
 *     selector  := fieldpath (operator value)?     without a value: the field is there
 *     fieldpath := field ("." field)*              field: a word, or in double quotes
 *     operator  := "==" | "!=" | "~="              the last one takes a regular expression, also in / or |
 *
 * Of several filters one must match; with none, everything does.
 *
 * @throws FilterError
 * @example parseFilters(['kind==active,labels."containerd.io/gc.root"', "name~=/^k8s/"])
 */
export function parseFilters(filters: readonly string[]): Filter {
  if (filters.length > MAX_FILTERS) throw new FilterError(filters[0]!, 0, `found ${filters.length} of them`);
  const parsed = filters.map(parseFilter);
  return (fields) => parsed.length === 0 || parsed.some((filter) => filter(fields));
}

function parseFilter(text: string): Filter {
  if (text.length > MAX_FILTER_LENGTH) throw new FilterError(text.slice(0, 40), 0, `found ${text.length} characters`);
  if (text === "") return () => true;
  const scanner = new Scanner(text);
  const selectors: Filter[] = [];
  for (;;) {
    const { selector, next } = parseSelector(scanner);
    selectors.push(selector);
    if (next.type === "end") return (fields) => selectors.every((one) => one(fields));
    if (next.type !== ",") throw scanner.error(`found ${next.type}, expected a comma or the end`);
  }
}

/** One selector and the token behind it. */
function parseSelector(scanner: Scanner): { selector: Filter; next: Token } {
  const path: string[] = [];
  let token: Token;
  do {
    token = scanner.next();
    if (token.type !== "field" && token.type !== "quoted") throw scanner.error(`found ${token.type}, expected a field`);
    path.push(token.text);
    token = scanner.next();
  } while (token.type === ".");
  if (token.type !== "operator") return { selector: (fields) => fields(path) !== undefined, next: token };
  if (!Object.hasOwn(OPERATORS, token.text)) throw scanner.error(`found ${token.text}, expected ==, != or ~=`);
  const operator = token.text as keyof typeof OPERATORS;
  const value = scanner.value(operator === "~=" ? '"/|' : '"') as Token & { text: string };
  const matches = matcher(scanner, operator, value.text);
  return { selector: (fields) => matches(fields(path)), next: scanner.next() };
}

function matcher(scanner: Scanner, operator: keyof typeof OPERATORS, value: string) {
  try {
    return OPERATORS[operator](value);
  } catch (error) {
    throw scanner.error(`not a regular expression: ${(error as Error).message}`);
  }
}
