import { FormatError } from "./errors.ts";

/**
 * Binary structures declared once, as a table of fields.
 *
 * `struct()` adds up the fields, refuses a table that misses the stated size (at load time, so a typing slip cannot
 * ship), and gives the offset of each field (`at`) and a typed view with one getter and setter a field. All integers
 * are little-endian, as in every format here. A view is meant to be moved (`view.base = …`), not made anew per record.
 */

const KINDS = {
  u8: 1,
  u16: 2,
  i32: 4,
  u32: 4,
  /** A 64-bit field that holds a size or an address: read as a number, refused from 2^53. */
  u53: 8,
  /** A signed 64-bit field, such as a time in seconds: read as a number, refused beyond 2^53 either way. */
  i53: 8,
  /** A 64-bit mask or opaque id, as bigint: slow, not for loops. */
  u64: 8,
} as const;
export type ScalarKind = keyof typeof KINDS;
/** A scalar, or that many raw bytes. */
export type FieldKind = ScalarKind | `bytes${number}`;
export type FieldTable = Readonly<Record<string, FieldKind>>;

type FieldValue<K extends FieldKind> = K extends "u64" ? bigint : K extends ScalarKind ? number : Uint8Array;
/** A view of one record: an accessor a field, over the bytes from `base` on. */
export type StructView<T extends FieldTable> = { -readonly [F in keyof T]: FieldValue<T[F]> } & {
  base: number;
};

export interface Struct<T extends FieldTable> {
  readonly name: string;
  /** The record's size in bytes. */
  readonly size: number;
  /** Each field's offset in bytes from the start of the record. */
  readonly at: { readonly [F in keyof T]: number };
  /**
   * A view over `data`, first at `offset`.
   * @throws FormatError ERR_TRUNCATED when the record does not fit in `data` at `offset`.
   */
  view(data: Uint8Array, offset?: number): StructView<T>;
}

/** What a view has besides its fields. */
const OWN_NAMES = ["dv", "data", "base"];

/**
 * Declares a structure.
 *
 * @throws Error when the fields do not add up to `size`, or one has a view's own name: a mistake in the declaration.
 * @example const Dirent = struct("erofs_dirent", 12, { nid: "u53", nameoff: "u16", fileType: "u8", reserved: "u8" });
 */
export function struct<const T extends FieldTable>(name: string, size: number, fields: T): Struct<T> {
  const at: Record<string, number> = {};
  class View {
    readonly dv: DataView;
    readonly data: Uint8Array;
    base: number;
    constructor(data: Uint8Array, base: number) {
      this.dv = new DataView(data.buffer, data.byteOffset, data.byteLength);
      this.data = data;
      this.base = base;
    }
  }
  let end = 0;
  for (const [field, kind] of Object.entries(fields)) {
    if (OWN_NAMES.includes(field)) throw new Error(`struct ${name}: a view has a ${field} of its own`);
    at[field] = end;
    Object.defineProperty(View.prototype, field, accessor(`${name}.${field}`, end, kind));
    end += fieldSize(kind);
  }
  if (end !== size) throw new Error(`struct ${name}: fields add up to ${end} bytes, ${size} were declared`);
  return {
    name,
    size,
    at: at as { [F in keyof T]: number },
    view(data, offset = 0) {
      if (offset < 0 || offset + size > data.byteLength)
        throw new FormatError(
          "ERR_TRUNCATED",
          name,
          offset,
          `needs ${size} bytes, ${Math.max(0, data.byteLength - offset)} are left`,
        );
      return new View(data, offset) as unknown as StructView<T>;
    },
  };
}

function fieldSize(kind: FieldKind): number {
  return kind in KINDS ? KINDS[kind as ScalarKind] : Number(kind.slice("bytes".length));
}

interface ViewState {
  readonly dv: DataView;
  readonly data: Uint8Array;
  readonly base: number;
}

function accessor(label: string, at: number, kind: FieldKind): PropertyDescriptor & ThisType<ViewState> {
  switch (kind) {
    case "u8":
      return {
        get() {
          return this.dv.getUint8(this.base + at);
        },
        set(v: number) {
          this.dv.setUint8(this.base + at, v);
        },
      };
    case "u16":
      return {
        get() {
          return this.dv.getUint16(this.base + at, true);
        },
        set(v: number) {
          this.dv.setUint16(this.base + at, v, true);
        },
      };
    case "i32":
      return {
        get() {
          return this.dv.getInt32(this.base + at, true);
        },
        set(v: number) {
          this.dv.setInt32(this.base + at, v, true);
        },
      };
    case "u32":
      return {
        get() {
          return this.dv.getUint32(this.base + at, true);
        },
        set(v: number) {
          this.dv.setUint32(this.base + at, v, true);
        },
      };
    case "u53":
      return {
        get() {
          return getU53(this.dv, this.base + at, label);
        },
        set(v: number) {
          setU53(this.dv, this.base + at, v);
        },
      };
    case "i53":
      return {
        get() {
          return getI53(this.dv, this.base + at, label);
        },
        set(v: number) {
          setU53(this.dv, this.base + at, v);
        },
      };
    case "u64":
      return {
        get() {
          return this.dv.getBigUint64(this.base + at, true);
        },
        set(v: bigint) {
          this.dv.setBigUint64(this.base + at, v, true);
        },
      };
    default: {
      const length = fieldSize(kind);
      return {
        get() {
          return this.data.subarray(this.base + at, this.base + at + length);
        },
        set(v: Uint8Array) {
          if (v.length !== length) throw new RangeError(`${label}: takes ${length} bytes, got ${v.length}`);
          this.data.set(v, this.base + at);
        },
      };
    }
  }
}

/**
 * A little-endian 64-bit field as a number.
 * @throws FormatError ERR_BAD_VALUE from 2^53 on.
 */
export function getU53(dv: DataView, offset: number, label: string): number {
  const high = dv.getUint32(offset + 4, true);
  if (high > 0x1fffff)
    throw new FormatError(
      "ERR_BAD_VALUE",
      label,
      offset,
      `found 0x${high.toString(16)}<<32 and more, expected below 2^53`,
    );
  return high * 0x1_0000_0000 + dv.getUint32(offset, true);
}

/**
 * A little-endian signed 64-bit field as a number.
 * @throws FormatError ERR_BAD_VALUE from 2^53 on, and below -2^53.
 */
export function getI53(dv: DataView, offset: number, label: string): number {
  const high = dv.getInt32(offset + 4, true);
  if (high > 0x1fffff || high < -0x200000)
    throw new FormatError("ERR_BAD_VALUE", label, offset, `found ${high}<<32 and more, expected -2^53 to 2^53`);
  return high * 0x1_0000_0000 + dv.getUint32(offset, true);
}

/** Writes a number of less than 2^53, negative ones too, as a little-endian 64-bit field. */
export function setU53(dv: DataView, offset: number, value: number): void {
  dv.setUint32(offset, value >>> 0, true);
  dv.setUint32(offset + 4, Math.floor(value / 0x1_0000_0000), true);
}
