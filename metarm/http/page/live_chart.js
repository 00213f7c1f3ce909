// Charts over time that grow: lines as in chart.js, with a clock for their axis.
//
// A chart is chart.js's, with `fromZero`; its series have their looks at first, and their points by `update`.

const CLOCK_STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200];
const DAY_STEPS_S = [1, 2, 5, 10, 20, 50, 100].map((days) => 86400 * days);
const clockFormat = (options) => new Intl.DateTimeFormat("en-GB", { ...options, timeZone: "UTC" });
const TICKS = {
  seconds: clockFormat({ timeStyle: "medium" }),
  minutes: clockFormat({ timeStyle: "short" }),
  days: clockFormat({ day: "numeric", month: "short" }),
};
const POINT_TIME = clockFormat({ day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });

FORMATS.clock = (seconds) => POINT_TIME.format(new Date(1000 * seconds));

function clockTick(seconds, step) {
  const whole = seconds % 86400 === 0 ? "days" : step < 60 ? "seconds" : "minutes";
  return TICKS[whole].format(new Date(1000 * seconds));
}

// Of /v1/status: what is known of a figure over time.
function pointsOf({ history }, name) {
  const points = { x: [], y: [] };
  (history?.time ?? []).forEach((time, i) => {
    const value = history[name]?.[i];
    if (!isNumber(value)) return;
    points.x.push(time);
    points.y.push(value);
  });
  return points;
}

// A level to compare with, from the first point to the last.
function levelOf({ history }, value) {
  const times = history?.time ?? [];
  if (!isNumber(value) || times.length === 0) return { x: [], y: [] };
  const x = times.length === 1 ? [times[0]] : [times[0], times.at(-1)];
  return { x, y: x.map(() => value) };
}

function livePlotOptions(chart, layout, size, showValues) {
  const options = plotOptions(chart, layout, size, () => true, showValues);
  layout.lines.forEach(({ series }, i) => (options.series[i + 1].spanGaps = Boolean(series.plain))); // what is unknown is a gap
  options.cursor.drag = { x: false, y: false };
  Object.assign(options.axes[0], {
    gap: 8,
    size: 30,
    incrs: [...CLOCK_STEPS_S, ...DAY_STEPS_S],
    space: 64,
    values: (_plot, ticks, _axis, _space, step) => ticks.map((tick) => clockTick(tick, step)),
  });
  if (chart.fromZero) options.scales.y.range = (_plot, _low, high) => [0, high > 0 ? 1.1 * high : 1];
  return options;
}

// The open table of a chart made anew, where its reader is.
function renewTable(details) {
  const old = details.children[1];
  if (!old) return;
  const { scrollTop } = old,
    focused = document.activeElement === old;
  old.remove();
  if (!details.open) return;
  details.dispatchEvent(new Event("toggle"));
  details.children[1].scrollTop = scrollTop;
  if (focused) details.children[1].focus({ preventScroll: true });
}

function liveChart(chart) {
  for (const series of chart.series) Object.assign(series, { x: [], y: [] });
  Object.assign(chart, { xLabel: "time", xKind: "clock", xRange: [0, 1] });
  const layout = layOut(chart.series);
  const area = h("div", { class: "plot", tabindex: 0, role: "img", "aria-label": `${chart.title}. No points yet.` });
  const readout = h("ul", { class: "readout" });
  const nothing = h("p", { class: "nothing" }, "No points yet");
  const table = tableView(chart);
  let plot = null,
    drawn = "";

  function valueAt(series, at) {
    const i = series.plain ? 0 : at === null ? series.x.length - 1 : series.x.indexOf(at);
    return format(series.y[i], chart.kind);
  }
  function showValues() {
    const at = plot && isNumber(plot.cursor.idx) && plot.cursor.left >= 0 ? layout.x[plot.cursor.idx] : null;
    const where = at === null ? [] : [h("li", {}, format(at, "clock"))];
    const present = chart.series.filter((series) => series.x.length > 0);
    const items = present.map((series) => h("li", {}, swatch(series), h("span", {}, series.label), h("b", {}, valueAt(series, at))));
    readout.replaceChildren(...where, ...items);
  }
  function draw() {
    const size = { width: area.clientWidth, height: area.clientHeight };
    if (layout.x.length === 0 || size.width === 0) return;
    if (plot) return plot.setData([layout.x, ...layout.columns]);
    plot = new uPlot(livePlotOptions(chart, layout, size, showValues), [layout.x, ...layout.columns], area);
    plots.add(plot);
  }
  function update(points) {
    const now = points.map(({ x, y }) => [x.length, x.at(-1), y.at(-1)].join()).join();
    if (now === drawn) return;
    drawn = now;
    chart.series.forEach((series, i) => Object.assign(series, points[i]));
    Object.assign(layout, layOut(chart.series));
    const { x } = layout;
    nothing.hidden = x.length > 0;
    if (x.length === 0) return;
    chart.xRange = x.length > 1 ? [x[0], x.at(-1)] : [x[0] - 30, x[0] + 30];
    draw();
    area.setAttribute("aria-label", describe(chart));
    showValues();
    renewTable(table);
  }

  new ResizeObserver(() => {
    if (plot) plot.setSize({ width: area.clientWidth, height: area.clientHeight });
    else draw();
  }).observe(area);
  area.addEventListener("keydown", (event) => plot && moveByKey(event, plot));
  area.addEventListener("focus", () => readout.setAttribute("aria-live", "polite"));
  area.addEventListener("blur", () => readout.removeAttribute("aria-live"));
  const caption = h("figcaption", {}, h("strong", {}, chart.title), h("p", { class: "note" }, chart.note));
  area.append(nothing);
  return { element: h("figure", { class: "chart", "data-chart": chart.id }, caption, area, readout, table), update };
}
