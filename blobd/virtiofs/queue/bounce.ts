import { closeSync } from "node:fs";
import { mapShared, memfd, unmapShared } from "../../sys/index.ts";

/**
 * Memory in which data wait whose place in the guest this process cannot reach. It is a file as well, because the message
 * by which a front-end copies guest memory copies from and to files. Made when first needed, which most queues never do.
 */
export class Bounce {
  readonly bytes: number;
  #fd = -1;
  #address = 0;
  #used = 0;

  constructor(bytes: number) {
    this.bytes = bytes;
  }

  get fd(): number {
    return this.#fd;
  }

  get address(): number {
    return this.#address;
  }

  /** @returns where in it `bytes` bytes are free, -1 when they are not */
  take(bytes: number): number {
    if (this.#fd < 0) {
      this.#fd = memfd("blobd-bounce", this.bytes);
      this.#address = mapShared(this.#fd, 0, this.bytes);
    }
    if (this.#used + bytes > this.bytes) return -1;
    this.#used += bytes;
    return this.#used - bytes;
  }

  /** Frees the `bytes` bytes taken last. */
  giveBack(bytes: number): void {
    this.#used -= bytes;
  }

  /** Frees all. */
  clear(): void {
    this.#used = 0;
  }

  close(): void {
    if (this.#fd < 0) return;
    unmapShared(this.#address, this.bytes);
    closeSync(this.#fd);
    this.#fd = -1;
  }
}
