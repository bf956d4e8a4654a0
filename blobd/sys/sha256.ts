import { createHash, type Hash } from "node:crypto";
import { onPool } from "./decoder.ts";
import { type Native, optionalLibrary } from "./koffi.ts";

/** A sha256 in progress. No method may be called while an asynchronous update runs. */
export interface Sha256 {
  update(bytes: Uint8Array): void;
  /** `update` on libuv's thread pool where that is possible; the bytes must not change until it is done. */
  updateAsync(bytes: Uint8Array): Promise<void>;
  /** The digest in hex; only `free` may follow. */
  digestHex(): string;
  /** Gives its memory back; it must not be used any more, but may be freed again. */
  free(): void;
}

// evp.h of OpenSSL 1.1 and 3.
const SIGNATURES = {
  EVP_MD_CTX_new: ["address"],
  EVP_MD_CTX_free: ["void", "address"],
  EVP_sha256: ["address"],
  EVP_DigestInit_ex: ["int", "address", "address", "address"],
  EVP_DigestUpdate: ["int", "address", "bytes", "size"],
  EVP_DigestFinal_ex: ["int", "address", "bytes", "address"],
  EVP_Digest: ["int", "bytes", "size", "bytes", "address", "address", "address"],
} as const;

/** The OpenSSL that Node.js itself carries: the code behind crypto.createHash, and as fast. */
const openssl = optionalLibrary(null, SIGNATURES);

/**
 * A sha256 that need not keep this thread busy: hashing is the largest part of writing a blob, and crypto.Hash does it
 * on the calling thread only. Where Node.js does not show its OpenSSL (`library` is null), `updateAsync` is `update`.
 */
export function sha256(library: Native<typeof SIGNATURES> | null = openssl()): Sha256 {
  return library === null ? new NodeSha256() : new OpensslSha256(library);
}

/**
 * The sha256 of bytes that are all there, taken on libuv's thread pool where that is possible; they must not change until
 * it is done. 32 bytes.
 */
export async function sha256Of(bytes: Uint8Array): Promise<Buffer> {
  const library = openssl();
  if (library === null) return createHash("sha256").update(bytes).digest();
  const digest = Buffer.allocUnsafeSlow(EVP_MAX_MD_SIZE);
  const result = await onPool(library.EVP_Digest, bytes, bytes.length, digest, 0, library.EVP_sha256(), 0);
  // `bytes` is read after the call, so that the garbage collector does not take them before.
  succeeded(result, `EVP_Digest of ${bytes.length} bytes`);
  return digest.subarray(0, SHA256_BYTES);
}

class OpensslSha256 implements Sha256 {
  readonly #library: Native<typeof SIGNATURES>;
  #context: number;

  constructor(library: Native<typeof SIGNATURES>) {
    this.#library = library;
    this.#context = library.EVP_MD_CTX_new();
    if (this.#context === 0) throw new Error("EVP_MD_CTX_new: out of memory");
    succeeded(library.EVP_DigestInit_ex(this.#context, library.EVP_sha256(), 0), "EVP_DigestInit_ex");
  }

  update(bytes: Uint8Array): void {
    const { EVP_DigestUpdate } = this.#library;
    succeeded(EVP_DigestUpdate(this.#live(), bytes, bytes.length), "EVP_DigestUpdate");
  }

  async updateAsync(bytes: Uint8Array): Promise<void> {
    const { EVP_DigestUpdate } = this.#library;
    const result = await onPool(EVP_DigestUpdate, this.#live(), bytes, bytes.length);
    // `bytes` is read after the call, so that the garbage collector does not take them before.
    succeeded(result, `EVP_DigestUpdate of ${bytes.length} bytes`);
  }

  digestHex(): string {
    const digest = Buffer.allocUnsafeSlow(EVP_MAX_MD_SIZE);
    succeeded(this.#library.EVP_DigestFinal_ex(this.#live(), digest, 0), "EVP_DigestFinal_ex");
    return digest.toString("hex", 0, SHA256_BYTES);
  }

  free(): void {
    this.#library.EVP_MD_CTX_free(this.#context);
    this.#context = 0;
  }

  #live(): number {
    if (this.#context === 0) throw new Error("sha256: used after free");
    return this.#context;
  }
}

class NodeSha256 implements Sha256 {
  readonly #hash: Hash = createHash("sha256");

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  async updateAsync(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
  }

  digestHex(): string {
    return this.#hash.digest("hex");
  }

  free(): void {}
}

const SHA256_BYTES = 32;
/** Room that EVP_DigestFinal_ex may ask for, in bytes. */
const EVP_MAX_MD_SIZE = 64;

function succeeded(result: number, call: string): void {
  if (result !== 1) throw new Error(`${call} failed`);
}
