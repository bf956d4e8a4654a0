import { BLOCK_SIZE, type BlobRef } from "../../formats/tree/index.ts";
import type { VerityRoot } from "../../formats/verity/index.ts";
import { SEGMENT_BYTES } from "./buffer-pool.ts";
import { isHex } from "./paths.ts";

/** A file in `blobs/`, as a record names it. */
export interface StoredFile extends BlobRef {
  /** Size in bytes: `blocks` times 4096, and a multiple of 2 MiB. */
  readonly size: number;
  /** Its hash tree, when it has one: the file's last blocks, before the padding. */
  readonly verity?: VerityRoot;
}

/** What a record tells of a blob: of one just written, too, so that it is the same when it is found again. */
export function storedFileOf({ digestHex, size, blocks, verity }: StoredFile): StoredFile {
  return { digestHex, size, blocks, ...(verity && { verity }) };
}

/** Counts and measures that go with a record, for people: anything with a name and a number. */
export type RecordStats = Readonly<Record<string, number>>;

/** A converted layer. */
export interface LayerRecord {
  /** The layer's digest as the manifest has it (`sha256:…` of the compressed bytes). */
  readonly layerDigest: string;
  /** Digest of the uncompressed tar, when it is known. */
  readonly diffId?: string;
  /** The layer's EROFS image. */
  readonly meta: StoredFile;
  /** Its file data; absent when the layer has none. */
  readonly blob?: StoredFile;
  /** Blobs of other layers that hold data of it, too. */
  readonly borrowed?: readonly StoredFile[];
  readonly stats: RecordStats;
}

/** A converted image. */
export interface ImageRecord {
  readonly manifestDigest: string;
  /** The names it was asked for by. */
  readonly references: readonly string[];
  /** The merged EROFS image. */
  readonly meta: StoredFile;
  /** The blobs of its device table, in slot order. */
  readonly blobs: readonly StoredFile[];
  /** Keys of its layers' records, bottom first. */
  readonly layers: readonly string[];
  /** The image's OCI config. */
  readonly config: unknown;
  readonly stats: RecordStats;
  /** When a conversion last ended in this image, in milliseconds since 1970. */
  readonly createdMs: number;
}

/** A blob as it was written for a registry: what is needed to name it there without writing it again. */
export interface EncodingRecord {
  /** The blob's name in the store. */
  readonly blobHex: string;
  /** Of the encoded bytes. */
  readonly digest: string;
  /** In bytes. */
  readonly size: number;
  /** Where the chunk index starts, in bytes. */
  readonly indexStart: number;
  readonly indexDigest: string;
  /** Repositories that have it: `host/name`, those that were pushed to last at the end. */
  readonly repositories: readonly string[];
}

/** Every kind of record. */
export type AnyRecord = LayerRecord | ImageRecord | EncodingRecord;

/** The form of a record on disk; a record of another version counts as absent. */
export const RECORD_VERSION = 1;
/** Longest record that is read, in bytes: an OCI config is at most 4 MiB, and the rest is small. */
export const MAX_RECORD_BYTES = 16 * 1024 * 1024;
/** Most names, blobs or layers in a record: images have at most 127 layers (overlayfs in Docker), names may gather. */
export const MAX_RECORD_LIST = 4096;

/** A record as it is written. */
export function formatRecord(record: AnyRecord): string {
  return `${JSON.stringify({ version: RECORD_VERSION, ...record }, null, 1)}\n`;
}

/** A layer record from disk. @throws Error saying what is wrong with it */
export function parseLayerRecord(text: string): LayerRecord {
  const o = versioned(text);
  const diffId = o.diffId === undefined ? {} : { diffId: digest(o.diffId, "diffId") };
  const blob = o.blob === undefined ? {} : { blob: storedFile(o.blob, "blob") };
  const borrowed =
    o.borrowed === undefined ? {} : { borrowed: list(o.borrowed, "borrowed").map((b) => storedFile(b, "borrowed")) };
  return {
    layerDigest: digest(o.layerDigest, "layerDigest"),
    ...diffId,
    meta: storedFile(o.meta, "meta"),
    ...blob,
    ...borrowed,
    stats: stats(o.stats),
  };
}

/** An image record from disk. @throws Error saying what is wrong with it */
export function parseImageRecord(text: string): ImageRecord {
  const o = versioned(text);
  return {
    manifestDigest: digest(o.manifestDigest, "manifestDigest"),
    references: list(o.references, "references").map((r) => string(r, "references")),
    meta: storedFile(o.meta, "meta"),
    blobs: list(o.blobs, "blobs").map((b) => storedFile(b, "blobs")),
    layers: list(o.layers, "layers").map((l) => hex(l, "layers")),
    config: o.config,
    stats: stats(o.stats),
    createdMs: count(o.createdMs, "createdMs"),
  };
}

/** An encoding's record from disk. @throws Error saying what is wrong with it */
export function parseEncodingRecord(text: string): EncodingRecord {
  const o = versioned(text);
  return {
    blobHex: hex(o.blobHex, "blobHex"),
    digest: digest(o.digest, "digest"),
    size: count(o.size, "size"),
    indexStart: count(o.indexStart, "indexStart"),
    indexDigest: digest(o.indexDigest, "indexDigest"),
    repositories: list(o.repositories, "repositories").map((r) => string(r, "repositories")),
  };
}

function versioned(text: string): Record<string, unknown> {
  const o = object(JSON.parse(text), "record");
  if (o.version !== RECORD_VERSION) throw wrong("version", o.version, String(RECORD_VERSION));
  return o;
}

function storedFile(value: unknown, field: string): StoredFile {
  const o = object(value, field);
  const size = count(o.size, `${field}.size`);
  const blocks = count(o.blocks, `${field}.blocks`);
  if (size === 0 || size % SEGMENT_BYTES !== 0) throw wrong(`${field}.size`, size, "a multiple of 2 MiB");
  if (blocks * BLOCK_SIZE !== size) throw wrong(`${field}.blocks`, blocks, String(size / BLOCK_SIZE));
  const verity = o.verity === undefined ? {} : { verity: verityRoot(o.verity, blocks, `${field}.verity`) };
  return { digestHex: hex(o.digestHex, `${field}.digestHex`), size, blocks, ...verity };
}

function verityRoot(value: unknown, blocks: number, field: string): VerityRoot {
  const o = object(value, field);
  const dataBlocks = count(o.dataBlocks, `${field}.dataBlocks`);
  if (dataBlocks === 0 || dataBlocks >= blocks) throw wrong(`${field}.dataBlocks`, dataBlocks, `1 to ${blocks - 1}`);
  return { dataBlocks, rootHex: hex(o.rootHex, `${field}.rootHex`) };
}

function stats(value: unknown): RecordStats {
  const o = object(value, "stats");
  for (const [name, number] of Object.entries(o))
    if (typeof number !== "number") throw wrong(`stats.${name}`, number, "a number");
  return o as RecordStats;
}

function object(value: unknown, field: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(field, value, "an object");
  return value as Record<string, unknown>;
}

function list(value: unknown, field: string): unknown[] {
  if (!Array.isArray(value) || value.length > MAX_RECORD_LIST)
    throw wrong(field, value, `a list of at most ${MAX_RECORD_LIST}`);
  return value;
}

function string(value: unknown, field: string): string {
  if (typeof value !== "string") throw wrong(field, value, "a string");
  return value;
}

function hex(value: unknown, field: string): string {
  if (typeof value !== "string" || !isHex(value)) throw wrong(field, value, "64 hex digits");
  return value;
}

const DIGEST = /^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-f]{32,128}$/;

function digest(value: unknown, field: string): string {
  if (typeof value !== "string" || !DIGEST.test(value)) throw wrong(field, value, "a digest such as sha256:…");
  return value;
}

function count(value: unknown, field: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw wrong(field, value, "a whole number");
  return value as number;
}

function wrong(field: string, found: unknown, expected: string): Error {
  return new Error(`${field}: found ${String(JSON.stringify(found)).slice(0, 100)}, expected ${expected}`);
}
