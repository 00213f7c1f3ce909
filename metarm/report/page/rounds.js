// What changed from round to round.

const valueOf = (round, name) => round.figures[name]?.value;

// The series of one figure over a folder's rounds.
function overRounds(folder, name, look) {
  const rounds = folder.rounds.filter((round) => isNumber(valueOf(round, name)));
  const series = { x: rounds.map((round) => round.round), y: rounds.map((round) => valueOf(round, name)), ...look };
  if (rounds.some((round) => isNumber(round.figures[name].low))) {
    series.low = rounds.map((round) => round.figures[name].low);
    series.high = rounds.map((round) => round.figures[name].high);
  }
  return series;
}

// With several folders, which one is meant.
const inFolder = (folder, folders, text) => (folders.length > 1 ? `${folder.name}: ${text}` : text);

// One chart of some figures over the rounds; null where no folder has any. `names`: [figure, label]; the first is a solid line.
function roundChart(folders, { names, ...chart }) {
  const series = folders
    .flatMap((folder, f) =>
      names.map(([name, label], n) => {
        const look = { label: inFolder(folder, folders, label), ...lookOf(f * names.length + n), dash: n };
        return overRounds(folder, name, look);
      }),
    )
    .filter((one) => one.x.length > 0);
  return series.length > 0 ? makeChart({ xLabel: "round", whole: true, pad: 0.35, series, ...chart }).element : null;
}

function figureGroups(folder) {
  const present = new Set(folder.rounds.flatMap((round) => Object.keys(round.figures)));
  const known = new Set(ROUND_FIGURES.flatMap((group) => group.figures.map(([name]) => name)));
  const others = [...present].filter((name) => !known.has(name)).map((name) => [name, titleOf(name), "number"]);
  return [...ROUND_FIGURES, { title: "Others", figures: others }]
    .map((group) => ({ title: group.title, figures: group.figures.filter(([name]) => present.has(name)) }))
    .filter((group) => group.figures.length > 0);
}

function roundsTable(folder) {
  const isOpen = (round) => Object.keys(round.figures).length === 0;
  const head = ["Figure", ...folder.rounds.map((round) => `Round ${round.round}${isOpen(round) ? ", unfinished" : ""}`)];
  const rows = figureGroups(folder).flatMap((group) => [
    h("tr", { class: "group" }, h("th", { scope: "colgroup", colspan: head.length }, group.title)),
    ...group.figures.map(([name, label, kind]) => {
      const cells = folder.rounds.map(({ figures }) => numberCell(figures[name]?.value, kind, figures[name]?.low, figures[name]?.high));
      return h("tr", { "data-figure": name }, headerCell(label), cells);
    }),
  ]);
  return tableOf(`Rounds of ${folder.name}`, head, rows, { class: "rounds" });
}

function roundsSection({ rounds: folders }) {
  const withFigures = folders.filter((folder) => folder.rounds.some((round) => Object.keys(round.figures).length > 0));
  if (withFigures.length === 0) return null;
  const content = withFigures.flatMap((folder) => [folders.length > 1 ? h("h3", {}, folder.name) : null, roundsTable(folder)]);
  const note =
    "Below a figure, its 95\u00a0% interval where there is one. Raw reward differences grow with the rewards\u2019 scale; those divided by the reward model\u2019s deviation do not.";
  return { id: "rounds", title: "Rounds side by side", content: [h("p", { class: "note" }, note), ...content] };
}

// A histogram as bars from each edge to the next; an open last bin is as wide as the one before.
function histogramSeries({ edges, counts }) {
  const total = counts.reduce((sum, value) => sum + value, 0) || 1;
  const open = edges.length === counts.length;
  const end = open ? edges.at(-1) + (edges.length > 1 ? edges.at(-1) - edges.at(-2) : 1) : edges.at(-1);
  return { x: edges.slice(0, counts.length), y: counts.map((value) => value / total), end, open };
}

function histogramChart(folder, folders, round, first, highest) {
  const { x, y, end } = histogramSeries(round.histogram);
  const bars = { label: `Round ${round.round}`, x, y, color: 0, paths: "bars" };
  const outline = histogramSeries(first.histogram);
  const before = {
    label: `Round ${first.round}`,
    x: [...outline.x, outline.end],
    y: [...outline.y, outline.y.at(-1)],
    color: 1,
    paths: "steps",
    plain: true,
  };
  return makeChart({
    id: `differences-${round.round}`,
    title: inFolder(folder, folders, `Round ${round.round}`),
    xLabel: "difference from",
    kind: "percent",
    xRange: [x[0], end],
    yRange: [0, highest],
    series: round === first ? [bars] : [bars, before],
  }).element;
}

function differencesSection({ rounds: folders }) {
  const content = folders.flatMap((folder) => {
    const rounds = folder.rounds.filter((round) => round.histogram);
    const highest = 1.08 * Math.max(...rounds.map((round) => Math.max(...histogramSeries(round.histogram).y)));
    return rounds.map((round) => histogramChart(folder, folders, round, rounds[0], highest));
  });
  const scaled = roundChart(folders, {
    id: "differences",
    title: "Size of the differences",
    note: "Divided by the reward model\u2019s deviation on the pairs.",
    kind: "fixed",
    names: [
      ["difference_mean_scaled", "Mean"],
      ["difference_variance_scaled", "Variance"],
    ],
  });
  const ties = roundChart(folders, { id: "near-ties", title: "Near ties", kind: "percent", names: [["near_ties", "Near ties"]] });
  if (content.length === 0 && !scaled && !ties) return null;
  const open = folders.some((folder) => folder.rounds.some((round) => round.histogram && histogramSeries(round.histogram).open));
  const note =
    "How far apart the reward model puts the policy\u2019s responses to one prompt, in units of its reward deviation on the pairs. Mass that moves towards 0 is lost discrimination. The line is the first round.";
  const curves = scaled || ties ? h("div", { class: "charts wide" }, scaled, ties) : null;
  return {
    id: "differences",
    title: "Reward differences",
    content: [
      h("p", { class: "note" }, open ? `${note} The last bar holds all differences beyond.` : note),
      h("div", { class: "charts small" }, content),
      curves,
    ],
  };
}

// The value of a series at a step between those that it has.
function interpolate({ steps, values }, step) {
  const after = steps.findIndex((other) => other >= step);
  if (after === -1) return values.at(-1);
  if (after === 0 || steps[after] === step) return values[after];
  const share = (step - steps[after - 1]) / (steps[after] - steps[after - 1]);
  return values[after - 1] + share * (values[after] - values[after - 1]);
}

const REWARDS = [
  ["proxy_reward", "proxy"],
  ["gold_reward", "gold"],
];

// Points sorted by distance, as a series.
function againstDistance(points, look) {
  const sorted = points.filter(([kl, reward]) => isNumber(kl) && isNumber(reward)).sort((a, b) => a[0] - b[0]);
  return { x: sorted.map(([kl]) => Math.sqrt(Math.max(0, kl))), y: sorted.map(([, reward]) => reward), ...look };
}

const distanceChart = (chart) => makeChart({ xLabel: "root of KL", xKind: "fixed", kind: "fixed", ...chart }).element;

function roundsAgainstDistance(folders) {
  const series = folders
    .flatMap((folder, f) =>
      REWARDS.map(([name, label], n) => {
        const points = folder.rounds.map((round) => [valueOf(round, "kl"), valueOf(round, name)]);
        return againstDistance(points, { label: inFolder(folder, folders, titleOf(label)), ...lookOf(2 * f + n), dash: n });
      }),
    )
    .filter((one) => one.x.length > 0);
  return series.length > 0 ? distanceChart({ id: "distance-rounds", title: "At the end of each round", series }) : null;
}

function runsAgainstDistance(runs) {
  const series = runs
    .filter((run) => run.figures.kl)
    .flatMap((run, r) =>
      REWARDS.filter(([name]) => run.figures[name]).map(([name, label], n) => {
        const of = (key) => run.trends[key] ?? run.figures[key];
        const points = of(name).steps.map((step, i) => [interpolate(of("kl"), step), of(name).values[i]]);
        return againstDistance(points, { label: `${run.name}, ${label}`, ...lookOf(r), dash: n });
      }),
    );
  return series.length > 0 ? distanceChart({ id: "distance-runs", title: "During each policy\u2019s training", series }) : null;
}

function distanceSection({ rounds: folders, runs }) {
  const charts = [roundsAgainstDistance(folders), runsAgainstDistance(runs)].filter((chart) => chart);
  if (charts.length === 0) return null;
  const note =
    "Rewards against the square root of the policy\u2019s KL from the reference policy. Where the proxy goes on rising and gold turns down, the policy exploits the reward model.";
  return {
    id: "distance",
    title: "Proxy and gold reward",
    content: [h("p", { class: "note" }, note), h("div", { class: "charts wide" }, charts)],
  };
}

// How often the reward model is right, by how sure it is.
function calibrationChart(folder, folders) {
  const rounds = folder.rounds.filter((round) => round.calibration?.length > 0);
  if (rounds.length === 0) return null;
  const ideal = { label: "As sure as right", x: [0.5, 1], y: [0.5, 1], color: 6, dash: 2, plain: true };
  const series = rounds.map((round, r) => {
    const bins = [...round.calibration].sort((a, b) => a.confidence - b.confidence);
    return { label: `Round ${round.round}`, x: bins.map((bin) => bin.confidence), y: bins.map((bin) => bin.accuracy), ...lookOf(r) };
  });
  const title = inFolder(folder, folders, "Accuracy by confidence");
  return makeChart({ id: "calibration", title, xLabel: "confidence", xKind: "fixed", kind: "fixed", series: [ideal, ...series] }).element;
}

function accuracySection({ rounds: folders }) {
  const accuracy = roundChart(folders, {
    id: "accuracy-rounds",
    title: "Accuracy",
    note: "With 95\u00a0% intervals. Gold: agreement with the gold reward model on the current policy\u2019s own responses.",
    kind: "fixed",
    names: [
      ["accuracy", "Held-out pairs"],
      ["gold_accuracy", "Gold"],
    ],
  });
  const error = roundChart(folders, {
    id: "calibration-error",
    title: "Calibration error",
    note: "Expected distance between confidence and accuracy.",
    kind: "fixed",
    names: [["calibration_error", "Calibration error"]],
  });
  const charts = [accuracy, error, ...folders.map((folder) => calibrationChart(folder, folders))].filter((chart) => chart);
  if (charts.length === 0) return null;
  return {
    id: "accuracy",
    title: "Accuracy and calibration",
    content: [h("div", { class: charts.length > 2 ? "charts" : "charts wide" }, charts)],
  };
}

const OUTCOMES = ["win", "tie", "lose"];

function outcomeRow(folder, folders, round) {
  const bar = h("div", { class: "outcome", "aria-hidden": "true" });
  for (const name of OUTCOMES) {
    const share = valueOf(round, name) ?? 0;
    const part = h("span", { class: name }, share >= 0.12 ? name : "");
    part.style.width = `${100 * share}%`;
    if (share > 0) bar.append(part);
  }
  const cells = OUTCOMES.map((name) => numberCell(valueOf(round, name), "percent", round.figures[name]?.low, round.figures[name]?.high));
  return h("tr", {}, headerCell(inFolder(folder, folders, `Round ${round.round}`)), h("td", { class: "bar" }, bar), cells);
}

function outcomesSection({ rounds: folders }) {
  const rows = folders.flatMap((folder) =>
    folder.rounds.filter((round) => isNumber(valueOf(round, "win"))).map((round) => outcomeRow(folder, folders, round)),
  );
  if (rows.length === 0) return null;
  const table = tableOf("Win, tie, lose by round", ["Round", "Shares", "Win", "Tie", "Lose"], rows, { class: "outcomes" });
  return {
    id: "outcomes",
    title: "Win, tie, lose",
    content: [
      h(
        "p",
        { class: "note" },
        "How the judge found the policy\u2019s responses against those it was compared with, with 95\u00a0% intervals.",
      ),
      table,
    ],
  };
}
