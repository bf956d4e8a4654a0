import { SourceError } from "../../blobd/registry/index.ts";
import { type Sha256, sha256 } from "../../blobd/sys/index.ts";

/** Chunks that are hashed or wait for it, at most. */
const MAX_AHEAD = 4;

/**
 * Passes chunks on while their length and sha256 are checked on the thread pool, so that this thread keeps its time for
 * the layer. Whoever has read to the end without an error has the right bytes. Chunks must not change after they were
 * given.
 *
 * @throws SourceError ERR_LENGTH or ERR_DIGEST
 */
export async function* checkedContent(
  chunks: AsyncIterable<Uint8Array>,
  digest: string,
  size: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  const hash = sha256();
  let hashed: Promise<void> = Promise.resolve();
  let received = 0;
  const ahead: Promise<void>[] = [];
  try {
    for await (const chunk of chunks) {
      received += chunk.length;
      if (received > size) throw wrongLength(digest, `at least ${received}`, size);
      hashed = hashed.then(() => hash.updateAsync(chunk));
      ahead.push(hashed);
      if (ahead.length > MAX_AHEAD) await ahead.shift();
      yield chunk;
    }
    await hashed;
    if (received !== size) throw wrongLength(digest, `${received}`, size);
    checkDigest(hash, digest);
  } finally {
    await hashed.catch(() => {});
    hash.free();
  }
}

function checkDigest(hash: Sha256, expected: string): void {
  const found = `sha256:${hash.digestHex()}`;
  if (found !== expected)
    throw new SourceError("ERR_DIGEST", `layer ${expected}: the bytes have the digest ${found}; they were damaged`);
}

function wrongLength(digest: string, found: string, expected: number): SourceError {
  return new SourceError("ERR_LENGTH", `layer ${digest}: got ${found} bytes, its descriptor says ${expected}`);
}
