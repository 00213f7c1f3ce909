// Charts: uPlot's lines and bars, with markers, intervals, a legend that follows the cursor, the keyboard, and the same numbers as a table.
//
// A chart: { id, title, note, xLabel, xKind, kind, series, xRange, yRange, whole, pad, sync }: `whole` says that x counts, `pad` is room beside it,
// charts with the same `sync` share the cursor. A series: { label, x, y, low, high, color, marker, dash, paths, trend: { x, y }, plain, run },
// x ascending: `trend` is drawn instead of it, and the series itself faintly behind; a `plain` one is a line to compare with, without numbers.

const DASHES = [[], [6, 4], [2, 3], [9, 3, 2, 3]];
const MARKERS = [
  // of radius 1
  "M1 0A1 1 0 1 1-1 0A1 1 0 1 1 1 0Z",
  "M-.9-.9H.9V.9H-.9Z",
  "M0-1.2L1.15.85H-1.15Z",
  "M0-1.3L1.3 0L0 1.3L-1.3 0Z",
  "M0 1.2L1.15-.85H-1.15Z",
  "M-.4-1.2H.4V-.4H1.2V.4H.4V1.2H-.4V.4H-1.2V-.4H-.4Z",
  "M-1.1-1.1H1.1L-1.1 1.1H1.1Z",
];
const COLORS = 7;
const MARKER_RADIUS = 4;
const MARKED_POINTS = 8; // of a line with many
const ROUNDING = 1e-5; // values that differ by less of themselves are one: figures are of float32 weights, and uPlot draws no line through them

const cssValue = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const colorOf = (series) => cssValue(`--c${series.color % COLORS}`);

// Colour and marker of the i-th of several things: the pair differs for 49 of them.
const lookOf = (i) => ({ color: i % COLORS, marker: (i + Math.floor(i / COLORS)) % MARKERS.length });

function swatch(series) {
  const color = `var(--c${series.color % COLORS})`;
  const image = svg("svg", { class: "swatch", viewBox: "-13 -6 26 12", "aria-hidden": "true" });
  if (series.paths === "bars") {
    image.append(svg("rect", { x: -6, y: -5, width: 12, height: 10, fill: color }));
    return image;
  }
  const dash = DASHES[series.dash ?? 0].join(" ");
  image.append(svg("path", { d: "M-13 0H13", stroke: color, "stroke-width": 2, "stroke-dasharray": dash, fill: "none" }));
  if (series.marker !== undefined)
    image.append(svg("path", { d: MARKERS[series.marker], fill: color, transform: `scale(${MARKER_RADIUS})` }));
  return image;
}

// Every line that uPlot draws, on one axis: { x, columns, lines: [{ series, faint }] }.
function layOut(seriesList) {
  const lines = seriesList.flatMap((series) => {
    if (!series.trend) return [{ series, faint: false, x: series.x, y: series.y }];
    return [
      { series, faint: true, x: series.x, y: series.y },
      { series, faint: false, ...series.trend },
    ];
  });
  const x = [...new Set(lines.flatMap((line) => line.x))].sort((a, b) => a - b);
  const place = new Map(x.map((value, i) => [value, i]));
  const columns = lines.map((line) => {
    const column = new Array(x.length).fill(null);
    line.x.forEach((value, i) => (column[place.get(value)] = line.y[i]));
    return column;
  });
  return { x, columns, lines };
}

function nearest(sorted, value) {
  let low = 0,
    high = sorted.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle;
    else high = middle;
  }
  return Math.abs(sorted[high] - value) < Math.abs(sorted[low] - value) ? high : low;
}

const withNumbers = (chart) => chart.series.filter((series) => !series.plain && series.x.length > 0);

// What a chart shows, in words.
function describe(chart) {
  const at = (series, i) => `${format(series.y[i], chart.kind)} at ${chart.xLabel} ${format(series.x[i], chart.xKind)}`;
  const parts = withNumbers(chart).map((series) => {
    const last = series.y.length - 1;
    if (last === 0) return `${series.label}: ${at(series, 0)}`;
    const lowest = series.y.reduce((best, y, i) => (y < series.y[best] ? i : best), 0);
    const highest = series.y.reduce((best, y, i) => (y > series.y[best] ? i : best), 0);
    return `${series.label}: from ${at(series, 0)} to ${at(series, last)}; lowest ${at(series, lowest)}, highest ${at(series, highest)}`;
  });
  return `${chart.title}. ${parts.join(". ")}.`;
}

// The chart's numbers, made when they are first asked for.
function tableView(chart) {
  const details = h("details", {}, h("summary", {}, "Table", h("span", { class: "hidden-text" }, ` of ${chart.title}`)));
  details.addEventListener("toggle", () => {
    if (!details.open || details.children.length > 1) return;
    const columns = withNumbers(chart);
    const xs = [...new Set(columns.flatMap((series) => series.x))].sort((a, b) => a - b);
    const places = columns.map((series) => new Map(series.x.map((x, i) => [x, i])));
    const rows = xs.map((x) => {
      const cells = columns.map((series, s) => {
        const i = places[s].get(x);
        return i === undefined ? h("td", {}, NO_VALUE) : numberCell(series.y[i], chart.kind, series.low?.[i], series.high?.[i]);
      });
      return h("tr", {}, headerCell(h("data", { value: x }, format(x, chart.xKind))), cells);
    });
    details.append(tableOf(chart.title, [titleOf(chart.xLabel), ...columns.map((series) => series.label)], rows, { tall: true }));
  });
  return details;
}

// Which points of a line have a marker: all where they are few, else some, and the last.
function markedPoints(plot, column) {
  const points = column.flatMap((y, i) =>
    y === null || plot.data[0][i] < plot.scales.x.min || plot.data[0][i] > plot.scales.x.max ? [] : [i],
  );
  if (points.length <= 2 * MARKED_POINTS) return points;
  const every = points.length / MARKED_POINTS;
  return [...Array.from({ length: MARKED_POINTS }, (_, i) => points[Math.floor(i * every)]), points.at(-1)];
}

function drawMarkers(plot, column, series) {
  const context = plot.ctx,
    radius = MARKER_RADIUS * uPlot.pxRatio,
    shape = new Path2D(MARKERS[series.marker]);
  context.fillStyle = colorOf(series);
  for (const i of markedPoints(plot, column)) {
    context.save();
    context.translate(plot.valToPos(plot.data[0][i], "x", true), plot.valToPos(column[i], "y", true));
    context.scale(radius, radius);
    context.fill(shape);
    context.restore();
  }
}

function drawIntervals(plot, series) {
  const context = plot.ctx,
    cap = 3 * uPlot.pxRatio;
  context.strokeStyle = colorOf(series);
  context.lineWidth = 1.5 * uPlot.pxRatio;
  context.setLineDash([]);
  context.beginPath();
  series.x.forEach((x, i) => {
    if (!isNumber(series.low[i])) return;
    const left = plot.valToPos(x, "x", true),
      low = plot.valToPos(series.low[i], "y", true),
      high = plot.valToPos(series.high[i], "y", true);
    context.moveTo(left, low);
    context.lineTo(left, high);
    for (const end of [low, high]) {
      context.moveTo(left - cap, end);
      context.lineTo(left + cap, end);
    }
  });
  context.stroke();
}

function drawOver(plot, layout) {
  const context = plot.ctx;
  context.save();
  context.beginPath();
  const room = 2 * MARKER_RADIUS * uPlot.pxRatio;
  context.rect(plot.bbox.left - room, plot.bbox.top - room, plot.bbox.width + 2 * room, plot.bbox.height + 2 * room);
  context.clip();
  layout.lines.forEach(({ series, faint }, i) => {
    if (!plot.series[i + 1].show || faint) return;
    if (series.low) drawIntervals(plot, series);
    if (series.marker !== undefined) drawMarkers(plot, layout.columns[i], series);
  });
  context.restore();
}

function lineOptions({ series, faint }, shown) {
  const paths = { bars: uPlot.paths.bars({ size: [1], align: 1, gap: 1 }), steps: uPlot.paths.stepped({ align: 1 }) }[series.paths];
  return {
    stroke: () => (series.paths === "bars" ? "transparent" : colorOf(series)),
    fill: series.paths === "bars" ? () => colorOf(series) : undefined,
    width: series.paths === "bars" ? 0 : faint ? 1 : 2,
    alpha: faint ? 0.35 : 1,
    dash: DASHES[series.dash ?? 0],
    spanGaps: true,
    points: { show: false },
    show: shown(series),
    ...(paths && { paths }),
  };
}

// From the values and intervals in view, with some room.
function rangeOf(chart, layout, plot, low, high) {
  if (chart.yRange) return chart.yRange;
  for (const [i, { series }] of layout.lines.entries()) {
    if (!series.low || !plot.series[i + 1]?.show) continue;
    low = Math.min(low ?? Infinity, ...series.low.filter(isNumber));
    high = Math.max(high ?? -Infinity, ...series.high.filter(isNumber));
  }
  if (!isNumber(low) || !isNumber(high)) return [0, 1];
  const size = Math.max(Math.abs(low), Math.abs(high));
  if (high - low > ROUNDING * size) return uPlot.rangeNum(low, high, 0.1, false);
  return [low - (size / 10 || 1), high + (size / 10 || 1)];
}

function axisOptions(chart) {
  const common = {
    stroke: () => cssValue("--muted"),
    font: "11px system-ui, sans-serif",
    grid: { stroke: () => cssValue("--grid"), width: 1 },
    ticks: { show: false },
  };
  const ticks = (kind) => (_plot, values, _axis, _space, step) => values.map((value) => formatTick(value, kind, step));
  const x = { ...common, grid: { show: false }, gap: 4, size: 26, values: ticks(chart.xKind) };
  if (chart.whole) x.incrs = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 1e7, 1e8];
  const y = {
    ...common,
    gap: 6,
    space: 32,
    size: (_, values) => 14 + 6.5 * Math.max(1, ...(values ?? []).map((text) => text.length)),
    values: ticks(chart.kind),
  };
  return [x, y];
}

function plotOptions(chart, layout, size, shown, onCursor) {
  const pad = chart.pad ?? 0,
    alone = layout.x.length === 1 ? layout.x[0] : null; // beside which there is no other round or step
  const xRange = (_, low, high) => chart.xRange ?? (alone === null ? [low - pad, high + pad] : [alone - 0.5, alone + 0.5]);
  return {
    ...size,
    padding: [10, 12, 0, 2],
    legend: { show: false },
    cursor: { y: false, points: { size: 8 }, hover: { skip: [null] }, ...(chart.sync && { sync: { key: chart.sync } }) },
    scales: {
      x: { time: false, range: xRange },
      y: { range: (plot, low, high) => rangeOf(chart, layout, plot, low, high) },
    },
    axes: axisOptions(chart),
    series: [{}, ...layout.lines.map((line) => lineOptions(line, shown))],
    hooks: { draw: [(plot) => drawOver(plot, layout)], setCursor: [onCursor] },
  };
}

// Left and right move the cursor from point to point, Home and End to the ends, Escape away.
function moveByKey(event, plot) {
  const xs = plot.data[0],
    now = plot.cursor.idx;
  const to = { ArrowLeft: (now ?? xs.length) - 1, ArrowRight: (now ?? -1) + 1, Home: 0, End: xs.length - 1 }[event.key];
  if (event.key === "Escape") plot.setCursor({ left: -10, top: -10 });
  if (to === undefined) return;
  event.preventDefault();
  const i = Math.max(0, Math.min(xs.length - 1, to));
  plot.setCursor({ left: plot.valToPos(xs[i], "x") + 1, top: plot.over.clientHeight / 2 });
}

const plots = new Set();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plots.forEach((plot) => plot.redraw(false)));

// The chart as an element; `update()` follows a change of what `shown(series)` says.
function makeChart(chart, shown = () => true) {
  const layout = layOut(chart.series);
  const area = h("div", { class: "plot", tabindex: 0, role: "img", "aria-label": describe(chart) });
  const readout = h("ul", { class: "readout" });
  const bars = chart.series.find((series) => series.paths === "bars");
  let plot = null;

  // Where the cursor is: at a point of a line, at the left edge of the bar below it.
  function cursorAt() {
    if (!plot || !isNumber(plot.cursor.idx) || plot.cursor.left < 0) return null;
    if (!bars) return layout.x[plot.cursor.idx];
    const value = plot.posToVal(plot.cursor.left, "x");
    return bars.x.findLast((edge) => edge <= value) ?? bars.x[0];
  }

  function showValues() {
    const at = cursorAt();
    const where = at === null ? null : h("li", {}, `${titleOf(chart.xLabel)} ${format(at, chart.xKind)}`);
    const items = chart.series
      .filter((series) => shown(series) && series.x.length > 0)
      .map((series) => {
        const i = at === null ? series.x.length - 1 : nearest(series.x, at);
        const wordless = series.plain || (bars && at === null);
        return h("li", {}, swatch(series), h("span", {}, series.label), wordless ? null : h("b", {}, format(series.y[i], chart.kind)));
      });
    readout.replaceChildren(...(where ? [where, ...items] : items));
  }

  new ResizeObserver(() => {
    const size = { width: area.clientWidth, height: area.clientHeight };
    if (size.width === 0) return;
    if (plot) return plot.setSize(size);
    plot = new uPlot(plotOptions(chart, layout, size, shown, showValues), [layout.x, ...layout.columns], area);
    plots.add(plot);
  }).observe(area);
  area.addEventListener("keydown", (event) => plot && moveByKey(event, plot));
  // Values are read out for the chart that has the keyboard alone: charts may move together.
  area.addEventListener("focus", () => readout.setAttribute("aria-live", "polite"));
  area.addEventListener("blur", () => readout.removeAttribute("aria-live"));
  showValues();

  const note = chart.note ? h("p", { class: "note" }, chart.note) : null;
  const element = h(
    "figure",
    { class: "chart", "data-chart": chart.id },
    h("figcaption", {}, h("strong", {}, chart.title), note),
    area,
    readout,
    tableView(chart),
  );
  const update = () => {
    if (plot) layout.lines.forEach(({ series }, i) => plot.setSeries(i + 1, { show: shown(series) }));
    showValues();
  };
  return { element, update };
}
