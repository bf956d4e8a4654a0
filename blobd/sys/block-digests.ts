import { createHash } from "node:crypto";
import { type Native, optionalLibrary } from "./koffi.ts";
import { addressOf, allocAligned, PAGE_SIZE } from "./memory.ts";
import { viewMemory } from "./shared-memory.ts";

// evp.h of OpenSSL 1.1 and 3.
const SIGNATURES = {
  EVP_MD_CTX_new: ["address"],
  EVP_MD_CTX_free: ["void", "address"],
  EVP_sha256: ["address"],
  EVP_DigestInit_ex: ["int", "address", "address", "address"],
  EVP_DigestUpdate: ["int", "address", "address", "size"],
  EVP_DigestFinal_ex: ["int", "address", "address", "address"],
} as const;

/** The OpenSSL that Node.js itself carries. */
const openssl = optionalLibrary(null, SIGNATURES);

/** Computes the sha256 of many blocks, each with the same salt before it. */
export interface BlockDigests {
  /**
   * Digests of `count` blocks from `address` on go to `out`, 32 bytes each. Both must stay until it returns; the calling
   * thread is busy meanwhile.
   */
  hash(address: number, count: number, out: number): void;
  /** Gives its memory back; it must not be used any more. */
  free(): void;
}

const DIGEST_BYTES = 32;

/**
 * sha256(salt ‖ block) of blocks of 4 KiB. Four calls into OpenSSL a block cost a tenth of the hashing itself, and a third
 * of what crypto.createHash takes beside it.
 */
export function blockDigests(salt: Uint8Array, library: Native<typeof SIGNATURES> | null = openssl()): BlockDigests {
  return library === null ? nodeDigests(salt) : opensslDigests(salt, library);
}

function opensslDigests(salt: Uint8Array, library: Native<typeof SIGNATURES>): BlockDigests {
  const { EVP_DigestInit_ex, EVP_DigestUpdate, EVP_DigestFinal_ex } = library;
  const context = library.EVP_MD_CTX_new();
  if (context === 0) throw new Error("EVP_MD_CTX_new: out of memory");
  if (EVP_DigestInit_ex(context, library.EVP_sha256(), 0) !== 1) throw new Error("EVP_DigestInit_ex failed");
  const salted = allocAligned(Math.max(1, salt.length));
  salted.bytes.set(salt);
  return {
    hash(address, count, out) {
      // A view of its own: `salted` has to be held for as long as its address is used.
      const saltAddress = addressOf(salted.bytes);
      for (let i = 0; i < count; i++) {
        const done =
          // No algorithm: the one it has. To name it would make OpenSSL 3 look it up each time (a tenth of the whole).
          EVP_DigestInit_ex(context, 0, 0) +
          EVP_DigestUpdate(context, saltAddress, salt.length) +
          EVP_DigestUpdate(context, address + i * PAGE_SIZE, PAGE_SIZE) +
          EVP_DigestFinal_ex(context, out + i * DIGEST_BYTES, 0);
        if (done !== 4) throw new Error("sha256 of a block failed");
      }
    },
    free: () => library.EVP_MD_CTX_free(context),
  };
}

function nodeDigests(salt: Uint8Array): BlockDigests {
  return {
    hash(address, count, out) {
      const blocks = new Uint8Array(viewMemory(address, count * PAGE_SIZE));
      const digests = new Uint8Array(viewMemory(out, count * DIGEST_BYTES));
      for (let i = 0; i < count; i++) {
        const block = blocks.subarray(i * PAGE_SIZE, (i + 1) * PAGE_SIZE);
        digests.set(createHash("sha256").update(salt).update(block).digest(), i * DIGEST_BYTES);
      }
    },
    free() {},
  };
}
