/**
 * Gathers bytes of any length into pieces of one length, and hands each on while the next one fills: two pieces of memory,
 * whatever the length of all.
 */
export class Pieces {
  readonly #send: (piece: Uint8Array) => Promise<void>;
  #filling: Buffer;
  #sending: Buffer;
  #filled = 0;
  #sent: Promise<void> = Promise.resolve();

  constructor(pieceBytes: number, send: (piece: Uint8Array) => Promise<void>) {
    this.#send = send;
    this.#filling = Buffer.allocUnsafeSlow(pieceBytes);
    this.#sending = Buffer.allocUnsafeSlow(pieceBytes);
  }

  /** Copies `bytes`; waits when both pieces are full. @throws what sending throws, also of an earlier piece */
  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const length = Math.min(bytes.length - at, this.#filling.length - this.#filled);
      this.#filling.set(bytes.subarray(at, at + length), this.#filled);
      this.#filled += length;
      at += length;
      if (this.#filled === this.#filling.length) await this.#hand();
    }
  }

  /** Sends what is left and waits for all of it. */
  async end(): Promise<void> {
    if (this.#filled > 0) await this.#hand();
    await this.#sent;
  }

  /** Waits until nothing is on its way any more, whatever has become of it. */
  async settle(): Promise<void> {
    await this.#sent.catch(() => {});
  }

  async #hand(): Promise<void> {
    await this.#sent;
    [this.#filling, this.#sending] = [this.#sending, this.#filling];
    this.#sent = this.#send(this.#sending.subarray(0, this.#filled));
    this.#sent.catch(() => {}); // It is reported when it is awaited.
    this.#filled = 0;
  }
}
