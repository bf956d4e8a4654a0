/** Keeps up to `size` pieces of work going, as long as there is some to take. */
export class Slots {
  readonly #size: number;
  readonly #take: () => Promise<(() => Promise<void>) | undefined>;
  readonly #onError: (error: unknown) => void;
  #running = 0;
  #filling = false;
  #again = false;
  #closed = false;
  #whenIdle: (() => void)[] = [];

  /**
   * @param take Takes a piece of work; undefined when there is none.
   * @param onError Told when `take` fails; the next `fill` tries again.
   */
  constructor(size: number, take: () => Promise<(() => Promise<void>) | undefined>, onError: (error: unknown) => void) {
    this.#size = size;
    this.#take = take;
    this.#onError = onError;
  }

  /** Takes work until all slots are in use or there is none. Call it when there may be some. */
  fill(): void {
    if (this.#filling) {
      this.#again = true;
      return;
    }
    this.#filling = true;
    this.#fill()
      .catch(this.#onError)
      .finally(() => {
        this.#filling = false;
        if (this.#again) {
          this.#again = false;
          this.fill();
        } else this.#settle();
      });
  }

  async #fill(): Promise<void> {
    while (!this.#closed && this.#running < this.#size) {
      const work = await this.#take();
      if (work === undefined) return;
      this.#running++;
      work()
        .catch(this.#onError)
        .finally(() => {
          this.#running--;
          this.fill();
        });
    }
  }

  /** Takes no more. */
  close(): void {
    this.#closed = true;
  }

  /** Resolves when nothing is under way. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#whenIdle.push(resolve);
      this.#settle();
    });
  }

  #settle(): void {
    if (this.#running > 0 || this.#filling) return;
    for (const resolve of this.#whenIdle.splice(0)) resolve();
  }
}
