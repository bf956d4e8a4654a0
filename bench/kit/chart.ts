/** A bar: a value, and the range it was seen in. */
export interface Bar {
  readonly label: string;
  readonly value: number;
  readonly min?: number;
  readonly max?: number;
  /** `ours` stands out, `limit` is hollow. */
  readonly kind: "ours" | "peer" | "limit";
}

export interface BarChart {
  readonly title: string;
  readonly unit: string;
  /** Digits behind the point in the values' labels. */
  readonly digits: number;
  readonly bars: readonly Bar[];
  /** A value that the bars are held against, with its name. */
  readonly mark?: { readonly value: number; readonly label: string };
}

// Sizes in CSS pixels.
const WIDTH = 760;
const LABEL_WIDTH = 250;
const VALUE_WIDTH = 70;
const BAR_HEIGHT = 16;
const ROW_HEIGHT = 22;
const TITLE_HEIGHT = 34;
const CHART_GAP = 22;
const MARGIN = 16;
const SCALE_WIDTH = WIDTH - 2 * MARGIN - LABEL_WIDTH - VALUE_WIDTH;

/** Colours for light and dark pages. The background is the page's. */
const STYLE = `
  text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #24292f }
  .title { font-weight: 600; font-size: 14px }
  .value, .note { fill: #57606a }
  .note { font-size: 11px }
  .ours { fill: #0969da } .peer { fill: #afb8c1 } .limit { fill: none; stroke: #8c959f; stroke-dasharray: 3 2 }
  .range, .mark { stroke: #24292f; stroke-width: 1.2; fill: none } .mark { stroke-dasharray: 4 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .value, .note { fill: #9198a1 }
    .ours { fill: #4493f8 } .peer { fill: #59636e } .limit { stroke: #848d97 }
    .range, .mark { stroke: #e6edf3 }
  }`;

/** Draws bar charts below each other, as one SVG that is readable on light and dark pages. */
export function drawCharts(charts: readonly BarChart[], description: string): string {
  const parts: string[] = [];
  let top = MARGIN;
  for (const chart of charts) {
    parts.push(drawChart(chart, top));
    top += chartHeight(chart) + CHART_GAP;
  }
  const height = top - CHART_GAP + MARGIN;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img">
<title>${escapeXml(description)}</title>
<style>${STYLE}
</style>
${parts.join("")}</svg>
`;
}

function chartHeight(chart: BarChart): number {
  return TITLE_HEIGHT + chart.bars.length * ROW_HEIGHT + (chart.mark === undefined ? 0 : 16);
}

function drawChart({ title, unit, digits, bars, mark }: BarChart, top: number): string {
  const most = Math.max(...bars.map(({ value, max }) => max ?? value), mark?.value ?? 0);
  const left = MARGIN + LABEL_WIDTH;
  const x = (value: number) => round(left + (value / most) * SCALE_WIDTH);
  const lines = [text(MARGIN, top + 14, "title", title)];
  for (const [row, bar] of bars.entries()) {
    const y = top + TITLE_HEIGHT + row * ROW_HEIGHT;
    const middle = y + BAR_HEIGHT / 2;
    const { value, min = value, max = value } = bar;
    lines.push(
      text(left - 8, middle + 4.5, "label", bar.label, "end"),
      `<rect class="${bar.kind}" x="${left}" y="${y}" width="${round(x(value) - left)}" height="${BAR_HEIGHT}" rx="2"/>`,
    );
    if (max > min)
      lines.push(
        `<path class="range" d="M${x(min)} ${middle}H${x(max)}M${x(min)} ${middle - 3}v6M${x(max)} ${middle - 3}v6"/>`,
      );
    lines.push(text(x(max) + 7, middle + 4.5, "value", `${value.toFixed(digits)} ${unit}`));
  }
  if (mark !== undefined) {
    const bottom = top + TITLE_HEIGHT + bars.length * ROW_HEIGHT;
    lines.push(`<path class="mark" d="M${x(mark.value)} ${top + TITLE_HEIGHT - 4}V${bottom}"/>`);
    lines.push(text(x(mark.value), bottom + 11, "note", mark.label, "middle"));
  }
  return `${lines.join("\n")}\n`;
}

function text(x: number, y: number, className: string, content: string, anchor: "start" | "middle" | "end" = "start") {
  return `<text x="${round(x)}" y="${round(y)}" class="${className}" text-anchor="${anchor}">${escapeXml(content)}</text>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escapeXml(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
