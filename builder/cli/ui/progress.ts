/** Progress on stderr: a bar per layer on a terminal, plain lines otherwise, nothing with --quiet. */
import type { LayerState, LayerSummary, ProgressEvent, ProgressListener } from "../../image/index.ts";
import { formatBytes, formatSeconds, shortDigest } from "./units.ts";

export interface ProgressView {
  readonly listener: ProgressListener;
  /** Leaves the terminal as it should be; call it before any other output. Again is fine. */
  stop(): void;
}

export interface ProgressOptions {
  readonly quiet: boolean;
  readonly stream: NodeJS.WriteStream;
}

/** The view that fits the stream. */
export async function createProgress(options: ProgressOptions): Promise<ProgressView> {
  if (options.quiet) return { listener: () => {}, stop: () => {} };
  return options.stream.isTTY ? await barView(options.stream) : lineView(options.stream);
}

/** What is told of layers for which nothing has to be done. */
const AT_ONCE: Readonly<Partial<Record<LayerState, string>>> = {
  cached: "already here",
  waiting: "waiting for another process",
  exists: "already there",
  mounted: "mounted from another repository",
};

const DONE: ReadonlySet<LayerState> = new Set(["converted", "fetched", "sent"]);

/** One line when a layer starts and one when it is done, as `docker pull` prints into a pipe. */
function lineView(stream: NodeJS.WriteStream): ProgressView {
  let layers: readonly LayerSummary[] = [];
  const startedMs: number[] = [];
  const write = (text: string) => stream.write(`${text}\n`);
  const writeLayer = (index: number, text: string) => write(`${shortDigest(layers[index]?.digest ?? "")}: ${text}`);

  const showLayer = ({ index, state, bytes }: ProgressEvent & { type: "layer" }) => {
    const atOnce = AT_ONCE[state];
    if (atOnce !== undefined) writeLayer(index, atOnce);
    else if (DONE.has(state)) {
      const seconds = (performance.now() - (startedMs[index] ?? 0)) / 1000;
      writeLayer(index, `${state} ${formatBytes(bytes)} in ${formatSeconds(seconds)}`);
    } else if (startedMs[index] === undefined) {
      startedMs[index] = performance.now();
      writeLayer(index, `${state} ${formatBytes(layers[index]?.size ?? 0)}`);
    }
  };
  const listener = (event: ProgressEvent) => {
    if (event.type === "resolved") {
      layers = event.layers;
      write(`${event.reference}: ${layers.length} layer${layers.length === 1 ? "" : "s"}`);
    } else if (event.type === "retry") {
      if (event.index === null) write(`retrying: ${event.reason}`);
      else writeLayer(event.index, `retrying: ${event.reason}`);
    } else if (event.type === "layer") showLayer(event);
    else if (event.type === "merging") write(`merging ${event.layers} layer${event.layers === 1 ? "" : "s"}`);
    else write(`warning: ${event.message}`);
  };
  return { listener, stop: () => {} };
}

async function barView(stream: NodeJS.WriteStream): Promise<ProgressView> {
  const { default: cliProgress } = await import("cli-progress");
  const bars = new cliProgress.MultiBar(
    {
      stream,
      format: "{name}: {state} {bar} {done}/{size} {rate}",
      barsize: 30,
      hideCursor: true,
      clearOnComplete: false,
      fps: 10,
    },
    cliProgress.Presets.shades_grey,
  );
  let rows: { bar: ReturnType<typeof bars.create>; startedMs: number; total: number }[] = [];
  const listener = (event: ProgressEvent) => {
    if (event.type === "resolved") {
      stream.write(`${event.reference}\n`);
      rows = event.layers.map(({ digest, size }) => ({
        startedMs: 0,
        total: size,
        bar: bars.create(Math.max(size, 1), 0, {
          name: shortDigest(digest),
          state: "queued    ",
          done: "0 B",
          size: formatBytes(size),
          rate: "",
        }),
      }));
    } else if (event.type === "layer") {
      const row = rows[event.index];
      if (row === undefined) return;
      if (row.startedMs === 0) row.startedMs = performance.now();
      const seconds = Math.max((performance.now() - row.startedMs) / 1000, 0.001);
      const done = AT_ONCE[event.state] && event.state !== "waiting" ? row.total : event.bytes;
      if (row.total < done) row.bar.setTotal(done);
      row.bar.update(Math.max(done, event.state === "converted" ? 1 : 0), {
        state: event.state.padEnd(10),
        done: formatBytes(done),
        rate: AT_ONCE[event.state] ? "" : `${formatBytes(event.bytes / seconds)}/s`,
      });
    } else if (event.type === "retry") {
      if (event.index === null) stream.write(`retrying: ${event.reason}\n`);
      else rows[event.index]?.bar.update({ state: "retrying  ", rate: event.reason });
    } else if (event.type === "warning") bars.log(`warning: ${event.message}\n`);
  };
  let stopped = false;
  const stop = () => {
    // A second time it would move the cursor into what was printed since.
    if (!stopped) bars.stop();
    stopped = true;
  };
  return { listener, stop };
}
