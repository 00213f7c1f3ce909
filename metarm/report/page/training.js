// Curves of the runs, those of a kind in the same charts.

// One figure of one run, with its interval where the run has one at the same steps.
function runSeries(run, key, what, look) {
  const { steps, values } = run.figures[key],
    trend = run.trends[key];
  const series = { run, label: what ? `${run.name}, ${what}` : run.name, x: steps, y: values, ...look };
  if (trend) series.trend = { x: trend.steps, y: trend.values };
  const ends = ["low", "high"].map((end) => run.figures[`${key}_${end}`]);
  if (ends.every((end) => end)) {
    const [low, high] = ends.map((end) => new Map(end.steps.map((step, i) => [step, end.values[i]])));
    series.low = steps.map((step) => low.get(step));
    series.high = steps.map((step) => high.get(step));
  }
  return series;
}

function panelChart(panel, kind, looks, shown) {
  const series = panel.keys.flatMap(([key, what], k) =>
    kind.runs.flatMap((run, r) => (run.figures[key] ? [runSeries(run, key, what, { ...looks[r], dash: k })] : [])),
  );
  const chart = {
    id: panel.keys[0][0],
    title: panel.title,
    note: panel.note,
    kind: panel.kind,
    xLabel: "step",
    whole: true,
    sync: kind.title,
    series,
  };
  return makeChart(chart, shown);
}

// Buttons that show and hide a run in all charts of its kind.
function runButtons(kind, looks, hidden, update) {
  const items = kind.runs.map((run, r) => {
    const button = h("button", { type: "button", "aria-pressed": "true" }, swatch(looks[r]), run.name);
    button.addEventListener("click", () => {
      if (!hidden.delete(run)) hidden.add(run);
      button.setAttribute("aria-pressed", String(!hidden.has(run)));
      update();
    });
    return h("li", {}, button);
  });
  return h("ul", { class: "runs", "aria-label": `Runs shown: ${kind.title}` }, items);
}

function curveNotes(runs) {
  const notes = [];
  if (runs.some((run) => Object.keys(run.trends).length > 0)) notes.push("Bold lines are means of several steps, faint ones single steps.");
  const thinned = runs.filter((run) => run.thinned);
  if (thinned.length > 0) {
    const names = thinned.map((run) => `${run.name} (${format(run.recorded)} steps)`).join(", ");
    notes.push(
      `Too many steps to show each: ${names}. Lines and tables have every stretch\u2019s first, last, lowest and highest value; the means are of all steps.`,
    );
  }
  return notes.join(" ");
}

function trainingKind(kind) {
  const hidden = new Set();
  const shown = (series) => !hidden.has(series.run);
  const looks = kind.runs.map((_, r) => lookOf(r));
  const { main, more } = panelsOf(kind.runs);
  const charts = (panels) => panels.map((panel) => panelChart(panel, kind, looks, shown));
  const first = charts(main),
    rest = charts(more);
  const update = () => [...first, ...rest].forEach((chart) => chart.update());
  const notes = curveNotes(kind.runs);
  const grid = (list) =>
    h(
      "div",
      { class: "charts" },
      list.map((chart) => chart.element),
    );
  return [
    h("h3", {}, kind.title),
    notes ? h("p", { class: "note" }, notes) : null,
    kind.runs.length > 1 ? runButtons(kind, looks, hidden, update) : null,
    grid(first),
    rest.length > 0
      ? h(
          "details",
          { class: "more" },
          h("summary", {}, `${count(rest.length, "more curve")}: throughput, memory, learning rate`),
          grid(rest),
        )
      : null,
  ];
}

function trainingSection({ runs }) {
  const drawn = runs.filter((run) => Object.keys(run.figures).length > 0);
  if (drawn.length === 0) return null;
  const note = "Point at a chart for its values, or focus it and press the arrow keys; drag to look closer, double-click to go back.";
  return { id: "training", title: "Training curves", content: [h("p", { class: "note" }, note), kindsOf(drawn).map(trainingKind)] };
}
