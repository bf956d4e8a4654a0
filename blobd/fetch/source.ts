/** Where the stored bytes of one blob can be had: a registry, a mirror of it, any HTTP server, a folder. */
export interface BlobSource {
  /** For errors and counts. */
  readonly name: string;
  /**
   * The blob's bytes from `offset` on, `bytes` of them, in pieces as they come. It may end early: then the rest is asked for
   * again. Whoever stops reading ends the transfer.
   * @throws PassingError when another attempt may help, SourceError when this source is of no use for the blob; the signal's
   *   reason
   */
  read(offset: number, bytes: number, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined>;
}
