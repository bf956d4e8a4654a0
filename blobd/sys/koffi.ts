import { createRequire } from "node:module";

/** The koffi module: the foreign function interface behind every native call of this project. */
export type Koffi = typeof import("koffi");

let loaded: Koffi | null = null;

/** koffi, loaded at the first call (8 ms): importing this folder costs nothing until a native call is made. */
export function koffi(): Koffi {
  loaded ??= createRequire(import.meta.url)("koffi") as Koffi;
  return loaded;
}

/** C types a function here may take. `bytes` is a pointer to a Uint8Array's first byte, `address` a plain number. */
const C_TYPES = {
  int: "int",
  u32: "uint32_t",
  size: "size_t",
  long: "long",
  off: "int64_t",
  address: "uintptr_t",
  bytes: "void *",
} as const;
const RESULT_TYPES = { ...C_TYPES, text: "const char *", void: "void" } as const;
type CType = keyof typeof C_TYPES;
type JsType<T extends CType> = T extends "bytes" ? Uint8Array | null : number;
type Result = "int" | "long" | "address" | "text" | "void";
/** Name of a C function: its result, then its arguments. */
export type Signatures = Readonly<Record<string, readonly [Result, ...CType[]]>>;

/** A C function, callable at once, or on libuv's thread pool through `async`. */
export interface NativeFunction<R, Args extends readonly unknown[]> {
  (...args: Args): R;
  async(...args: [...Args, (error: Error | null, result: R) => void]): void;
}
type Arguments<A extends readonly CType[]> = { [I in keyof A]: JsType<A[I]> };
type Returned<R extends Result> = R extends "text" ? string : R extends "void" ? undefined : number;
/** The functions of a table of signatures. */
export type Native<T extends Signatures> = {
  readonly [F in keyof T]: T[F] extends readonly [infer R extends Result, ...infer A extends CType[]]
    ? NativeFunction<Returned<R>, Arguments<A>>
    : never;
};

/**
 * Opens a shared library and finds the functions of `signatures` in it.
 * @param file the library; null for what is linked into the running program.
 * @param symbols the exported names of functions that are called differently here.
 * @throws Error when the library or one of the functions is missing.
 */
export function loadLibrary<const T extends Signatures>(
  file: string | null,
  signatures: T,
  symbols: Readonly<Record<string, string>> = {},
): Native<T> {
  const library = koffi().load(file);
  const functions: Record<string, unknown> = {};
  for (const [name, [result, ...args]] of Object.entries(signatures))
    functions[name] = library.func(
      symbols[name] ?? name,
      RESULT_TYPES[result],
      args.map((type) => C_TYPES[type]),
    );
  return functions as Native<T>;
}

/** `loadLibrary` at most once a thread, or null where the library is not installed. */
export function optionalLibrary<const T extends Signatures>(
  file: string | null,
  signatures: T,
): () => Native<T> | null {
  let library: Native<T> | null | undefined;
  return () => {
    if (library === undefined)
      try {
        library = loadLibrary(file, signatures);
      } catch {
        library = null;
      }
    return library;
  };
}
