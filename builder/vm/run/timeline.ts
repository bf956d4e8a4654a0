/** When what happened in a guest's life, on the host's clock, in milliseconds since the VMM was started. */
export class Timeline {
  readonly #startMs = performance.now();
  /** The guest's process 1 runs. */
  initMs: number | undefined;
  /** How long the kernel had run by then. */
  kernelMs: number | undefined;
  /** The image is mounted, the command starts. */
  mountedMs: number | undefined;
  /** The first byte of the command's output. */
  outputMs: number | undefined;
  exitMs: number | undefined;

  initAt(kernelSeconds: number): void {
    this.initMs ??= this.#now();
    this.kernelMs ??= kernelSeconds * 1000;
  }
  mountedNow(): void {
    this.mountedMs ??= this.#now();
  }
  outputNow(): void {
    this.outputMs ??= this.#now();
  }
  exitNow(): void {
    this.exitMs ??= this.#now();
  }

  /** The way to the first output in parts that add up: VMM and firmware, kernel, mounts, and the command itself. */
  split(): {
    readonly vmmMs: number;
    readonly kernelMs: number;
    readonly mountsMs: number;
    readonly commandMs: number;
  } {
    const init = this.initMs ?? 0;
    const kernelMs = Math.min(this.kernelMs ?? 0, init);
    const mounted = this.mountedMs ?? init;
    const first = Math.max(mounted, this.outputMs ?? this.exitMs ?? mounted);
    return { vmmMs: init - kernelMs, kernelMs, mountsMs: mounted - init, commandMs: first - mounted };
  }

  #now(): number {
    return performance.now() - this.#startMs;
  }
}
