// What changed from round to round.

const stageOf = (round, stage) => round.stages.find((one) => one.name === stage);
const figureOf = (round, stage, name) => stageOf(round, stage)?.figures[name];
const valueOf = (round, stage, name) => figureOf(round, stage, name)?.value;
const isFinished = (round) => round.stages.every((stage) => stage.finished);

// The names of the folder's stages for which `has(stage)` is true in some round, in their order.
function stagesWith(folder, has) {
  const stages = folder.rounds.flatMap((round) => round.stages);
  return [...new Set(stages.map((stage) => stage.name))].filter((name) => stages.some((stage) => stage.name === name && has(stage)));
}

const stagesOf = (folder, figure) => stagesWith(folder, (stage) => isNumber(stage.figures[figure]?.value));

// With several folders or stages, which one is meant.
const inFolder = (folder, folders, text) => (folders.length > 1 ? `${folder.name}: ${text}` : text);
const ofStage = (stage, stages, text) => (stages.length > 1 ? `${text}, ${stage}` : text);

// The series of one figure of a stage over a folder's rounds.
function overRounds(folder, stage, name, look) {
  const rounds = folder.rounds.filter((round) => isNumber(valueOf(round, stage, name)));
  const series = { x: rounds.map((round) => round.round), y: rounds.map((round) => valueOf(round, stage, name)), ...look };
  const figures = rounds.map((round) => figureOf(round, stage, name));
  if (figures.some((figure) => isNumber(figure.low))) {
    series.low = figures.map((figure) => figure.low);
    series.high = figures.map((figure) => figure.high);
  }
  return series;
}

// One chart of some figures over the rounds; null where no stage has any. `names`: [figure, label]; the first is a solid line.
function roundChart(folders, { names, ...chart }) {
  const lines = folders.flatMap((folder) =>
    names.flatMap(([name, label], dash) => {
      const stages = stagesOf(folder, name);
      return stages.map((stage) => ({ folder, name, stage, dash, label: inFolder(folder, folders, ofStage(stage, stages, label)) }));
    }),
  );
  const series = lines.map(({ folder, name, stage, dash, label }, i) => overRounds(folder, stage, name, { label, ...lookOf(i), dash }));
  return series.length > 0 ? makeChart({ xLabel: "round", whole: true, pad: 0.35, series, ...chart }).element : null;
}

// The table's row of a stage's figure, called as in rounds.jsonl in its data.
function figureRow(folder, stage, name, label, kind) {
  const cells = folder.rounds.map((round) => {
    const figure = figureOf(round, stage, name);
    return numberCell(figure?.value, kind, figure?.low, figure?.high);
  });
  return h("tr", { "data-figure": `${stage}.${name}` }, headerCell(label), cells);
}

function timeRows(folder, columns) {
  const stages = stagesWith(folder, (stage) => stage.finished);
  if (stages.length === 0) return [];
  const cell = (stage) => h("td", {}, stage?.finished ? formatDuration(stage.seconds) : NO_VALUE);
  const rows = stages.map((name) => {
    const command = stageOf(folder.rounds[0], name).command || "own program";
    const title = command === name ? name : `${name} (${command})`;
    return h("tr", { "data-stage": name }, headerCell(title), folder.rounds.map((round) => cell(stageOf(round, name))));
  });
  return [groupRow("Time of the stages", columns), ...rows];
}

const groupRow = (title, columns) => h("tr", { class: "group" }, h("th", { scope: "colgroup", colspan: columns }, title));

function roundsTable(folder) {
  const head = ["Figure", ...folder.rounds.map((round) => `Round ${round.round}${isFinished(round) ? "" : ", unfinished"}`)];
  const rows = ROUND_FIGURES.flatMap((group) => {
    const figures = group.figures.flatMap(([name, label, kind]) => {
      const stages = stagesOf(folder, name);
      return stages.map((stage) => figureRow(folder, stage, name, ofStage(stage, stages, label), kind));
    });
    return figures.length > 0 ? [groupRow(group.title, head.length), ...figures] : [];
  });
  return tableOf(`Rounds of ${folder.name}`, head, [...rows, ...timeRows(folder, head.length)], { class: "rounds" });
}

// What else the stages said.
function otherFigures(folder) {
  const known = new Set(ROUND_FIGURES.flatMap((group) => group.figures.map(([name]) => name)));
  const rows = stagesWith(folder, () => true).flatMap((stage) => {
    const names = new Set(folder.rounds.flatMap((round) => Object.keys(stageOf(round, stage)?.figures ?? {})));
    return [...names].filter((name) => !known.has(name)).map((name) => figureRow(folder, stage, name, `${stage}.${name}`, "number"));
  });
  if (rows.length === 0) return null;
  const head = ["Figure", ...folder.rounds.map((round) => `Round ${round.round}`)];
  const table = tableOf(`Other figures of ${folder.name}`, head, rows, { class: "rounds", tall: true });
  return h("details", { class: "more" }, h("summary", {}, count(rows.length, "other figure")), table);
}

function roundsSection({ rounds: folders }) {
  const withFigures = folders.filter((folder) => stagesWith(folder, (stage) => stage.finished).length > 0);
  if (withFigures.length === 0) return null;
  const content = withFigures.flatMap((folder) => [
    folders.length > 1 ? h("h3", {}, folder.name) : null,
    roundsTable(folder),
    otherFigures(folder),
  ]);
  const note =
    "Below a figure, its 95\u00a0% interval where there is one. Raw reward differences grow with the rewards\u2019 scale; those divided by the reward model\u2019s deviation do not.";
  return { id: "rounds", title: "Rounds side by side", content: [h("p", { class: "note" }, note), ...content] };
}

// A histogram as bars from each edge to the next; the open last bin is as wide as the one before.
function histogramSeries({ edges, counts }) {
  const total = counts.reduce((sum, value) => sum + value, 0) || 1;
  const end = edges.at(-1) + (edges.length > 1 ? edges.at(-1) - edges.at(-2) : 1);
  return { x: edges, y: counts.map((value) => value / total), end };
}

// `first`: the round whose outline is drawn over the bars of the others; both are {round, histogram}.
function histogramChart(title, { round, histogram }, first, highest) {
  const { x, y, end } = histogramSeries(histogram);
  const bars = { label: `Round ${round}`, x, y, color: 0, paths: "bars" };
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
    id: `differences-${round}`,
    title,
    xLabel: "difference from",
    kind: "percent",
    xRange: [x[0], end],
    yRange: [0, highest],
    series: round === first.round ? [bars] : [bars, before],
  }).element;
}

function histogramCharts(folder, folders) {
  const stages = stagesWith(folder, (stage) => stage.histogram);
  return stages.flatMap((stage) => {
    const rounds = folder.rounds
      .map((round) => ({ round: round.round, histogram: stageOf(round, stage)?.histogram }))
      .filter(({ histogram }) => histogram);
    const highest = 1.08 * Math.max(...rounds.map(({ histogram }) => Math.max(...histogramSeries(histogram).y)));
    const titleAt = (round) => inFolder(folder, folders, ofStage(stage, stages, `Round ${round}`));
    return rounds.map((one) => histogramChart(titleAt(one.round), one, rounds[0], highest));
  });
}

function differencesSection({ rounds: folders }) {
  const content = folders.flatMap((folder) => histogramCharts(folder, folders));
  const scaled = roundChart(folders, {
    id: "differences",
    title: "Size of the differences",
    note: "Divided by the reward model\u2019s deviation on the pairs.",
    kind: "fixed",
    names: [
      ["responses.scaled_mean", "Mean"],
      ["responses.scaled_variance", "Variance"],
    ],
  });
  const ties = roundChart(folders, { id: "near-ties", title: "Near ties", kind: "percent", names: [["responses.near_ties", "Near ties"]] });
  if (content.length === 0 && !scaled && !ties) return null;
  const note =
    "How far apart the reward model puts the policy\u2019s responses to one prompt, in units of its reward deviation on the pairs. Mass that moves towards 0 is lost discrimination. The line is the first round; the last bar holds all differences beyond.";
  const curves = scaled || ties ? h("div", { class: "charts wide" }, scaled, ties) : null;
  return {
    id: "differences",
    title: "Reward differences",
    content: [
      h("p", { class: "note" }, note),
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
  ["reward", "proxy"],
  ["gold_reward", "gold"],
];

// Points sorted by distance, as a series.
function againstDistance(points, look) {
  const sorted = points.filter(([kl, reward]) => isNumber(kl) && isNumber(reward)).sort((a, b) => a[0] - b[0]);
  return { x: sorted.map(([kl]) => Math.sqrt(Math.max(0, kl))), y: sorted.map(([, reward]) => reward), ...look };
}

const distanceChart = (chart) => makeChart({ xLabel: "root of KL", xKind: "fixed", kind: "fixed", ...chart }).element;

function roundsAgainstDistance(folders) {
  const lines = folders.flatMap((folder) =>
    REWARDS.flatMap(([name, label], dash) => {
      const stages = stagesOf(folder, name).filter((stage) => stagesOf(folder, "kl").includes(stage));
      return stages.map((stage) => ({ folder, name, stage, dash, label: inFolder(folder, folders, ofStage(stage, stages, titleOf(label))) }));
    }),
  );
  const series = lines.map(({ folder, name, stage, dash, label }, i) => {
    const points = folder.rounds.map((round) => [valueOf(round, stage, "kl"), valueOf(round, stage, name)]);
    return againstDistance(points, { label, ...lookOf(i), dash });
  });
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

// How often the reward model is right, by how sure it is; a chart for each stage that measured it.
function calibrationCharts(folder, folders) {
  const ideal = { label: "As sure as right", x: [0.5, 1], y: [0.5, 1], color: 6, dash: 2, plain: true };
  const stages = stagesWith(folder, (stage) => stage.calibration);
  return stages.map((stage) => {
    const rounds = folder.rounds.filter((round) => stageOf(round, stage)?.calibration);
    const series = rounds.map((round, r) => {
      const bins = [...stageOf(round, stage).calibration].sort((a, b) => a.confidence - b.confidence);
      return { label: `Round ${round.round}`, x: bins.map((bin) => bin.confidence), y: bins.map((bin) => bin.accuracy), ...lookOf(r) };
    });
    const title = inFolder(folder, folders, ofStage(stage, stages, "Accuracy by confidence"));
    return makeChart({ id: "calibration", title, xLabel: "confidence", xKind: "fixed", kind: "fixed", series: [ideal, ...series] }).element;
  });
}

function accuracySection({ rounds: folders }) {
  const accuracy = roundChart(folders, {
    id: "accuracy-rounds",
    title: "Accuracy",
    note: "With 95\u00a0% intervals. Gold: agreement with a gold or second reward model on the current policy\u2019s own responses.",
    kind: "fixed",
    names: [
      ["pairs.accuracy", "Held-out pairs"],
      ["gold_accuracy", "Gold"],
      ["responses.second_rm.accuracy", "Second reward model"],
    ],
  });
  const error = roundChart(folders, {
    id: "calibration-error",
    title: "Calibration error",
    note: "Expected distance between confidence and accuracy.",
    kind: "fixed",
    names: [["pairs.calibration_error", "Calibration error"]],
  });
  const charts = [accuracy, error, ...folders.flatMap((folder) => calibrationCharts(folder, folders))].filter((chart) => chart);
  if (charts.length === 0) return null;
  return {
    id: "accuracy",
    title: "Accuracy and calibration",
    content: [h("div", { class: charts.length > 2 ? "charts" : "charts wide" }, charts)],
  };
}

const OUTCOMES = ["win", "tie", "lose"];

function outcomeRow(figures, title) {
  const bar = h("div", { class: "outcome", "aria-hidden": "true" });
  for (const name of OUTCOMES) {
    const share = figures[name]?.value ?? 0;
    const part = h("span", { class: name }, share >= 0.12 ? name : "");
    part.style.width = `${100 * share}%`;
    if (share > 0) bar.append(part);
  }
  const cells = OUTCOMES.map((name) => numberCell(figures[name]?.value, "percent", figures[name]?.low, figures[name]?.high));
  return h("tr", {}, headerCell(title), h("td", { class: "bar" }, bar), cells);
}

function outcomesSection({ rounds: folders }) {
  const rows = folders.flatMap((folder) => {
    const stages = stagesOf(folder, "win");
    const titleAt = (round, stage) => inFolder(folder, folders, ofStage(stage, stages, `Round ${round.round}`));
    const judged = folder.rounds.flatMap((round) => stages.map((stage) => [round, stage])).filter((at) => isNumber(valueOf(...at, "win")));
    return judged.map(([round, stage]) => outcomeRow(stageOf(round, stage).figures, titleAt(round, stage)));
  });
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
