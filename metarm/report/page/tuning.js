// What a tuning found: what each option did in the first rung, and the trials.

const SCATTER = { width: 340, height: 210, left: 58, right: 12, top: 10, bottom: 26 };
const CHOICE_SPREAD = 0.12; // of the way from one choice to the next, so that equal figures are seen side by side

const valueText = (value) => (isNumber(value) ? format(value) : String(value));
const firstRung = (trial) => trial.rungs[0] ?? {};
const lastGood = (trial) => trial.rungs.findLast((rung) => isNumber(rung.figure));

// Where a value stands from left to right, in [0, 1].
function placesOf(option, trials) {
  const values = trials.map((trial) => trial.options[option.option]);
  if (option.kind === "choice") {
    const choices = option.levels.map((level) => level.from);
    const spread = (trial) => CHOICE_SPREAD * (((trial.trial * 5) % 7) / 3 - 1);
    return trials.map((trial, i) => (choices.indexOf(values[i]) + 0.5 + spread(trial)) / choices.length);
  }
  const scale = option.kind === "log" ? Math.log : (value) => value;
  const low = scale(Math.min(...values)),
    high = scale(Math.max(...values));
  return values.map((value) => (high > low ? (scale(value) - low) / (high - low) : 0.5));
}

function axisText(x, y, anchor, text) {
  const node = svg("text", { x, y, "text-anchor": anchor, fill: "currentColor", "font-size": 11 });
  node.append(text);
  return node;
}

// Names below a scatter plot: the choices, or both ends of the numbers.
function axisOf(option, trials, xOf, y) {
  if (option.kind === "choice")
    return option.levels.map((level, i) => axisText(xOf((i + 0.5) / option.levels.length), y, "middle", valueText(level.from)));
  const values = trials.map((trial) => trial.options[option.option]);
  return [
    axisText(xOf(0), y, "start", valueText(Math.min(...values))),
    axisText(xOf(1), y, "end", valueText(Math.max(...values))),
  ];
}

// A trial: a dot, with a ring around the best, or a cross where it failed.
function markOf(trial, x, y, best, words) {
  const shape = isNumber(firstRung(trial).figure)
    ? svg("circle", { cx: x, cy: y, r: 4, fill: "var(--c0)" })
    : svg("path", { d: `M${x - 4} ${y - 4}l8 8m0-8l-8 8`, stroke: "var(--c1)", "stroke-width": 2, fill: "none" });
  shape.setAttribute("data-trial", trial.trial);
  const title = svg("title", {});
  title.append(words);
  shape.append(title);
  if (trial.trial !== best) return [shape];
  return [svg("circle", { cx: x, cy: y, r: 7, fill: "none", stroke: "currentColor", "stroke-width": 1.5 }), shape];
}

function scatter({ tuning, trials }, option) {
  const { width, height, left, right, top, bottom } = SCATTER;
  const figures = trials.map((trial) => firstRung(trial).figure).filter(isNumber);
  const low = Math.min(...figures),
    high = Math.max(...figures);
  const xOf = (share) => left + 8 + share * (width - left - right - 16);
  const yOf = (figure) => (high > low ? height - bottom - 8 - ((figure - low) / (high - low)) * (height - top - bottom - 16) : height / 2);
  const worst = tuning.goal === "maximise" ? height - bottom : top;
  const places = placesOf(option, trials);
  const image = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": scatterWords(tuning, option) });
  image.append(svg("path", { d: `M${left} ${top}V${height - bottom}H${width - right}`, stroke: "var(--grid)", fill: "none" }));
  image.append(axisText(left - 6, yOf(high) + 4, "end", format(high)), axisText(left - 6, yOf(low) + 4, "end", format(low)));
  image.append(...axisOf(option, trials, xOf, height - 8));
  trials.forEach((trial, i) => {
    const { figure, failure } = firstRung(trial);
    const words = `trial ${trial.trial}: ${option.option} ${valueText(trial.options[option.option])}, ${failure ?? `${tuning.figure} ${format(figure)}`}`;
    image.append(...markOf(trial, xOf(places[i]), isNumber(figure) ? yOf(figure) : worst, tuning.best.trial, words));
  });
  const caption = h("figcaption", {}, h("strong", {}, option.option), h("p", { class: "note" }, scatterWords(tuning, option)));
  return h("figure", { class: "chart", "data-chart": `tuning-${option.option}` }, caption, image);
}

const rangeText = (level) => (level.from === level.to ? valueText(level.from) : `${valueText(level.from)} to ${valueText(level.to)}`);
const levelText = (level) => `${rangeText(level)}: ${isNumber(level.median) ? format(level.median) : "failed"}`;
const scatterWords = (tuning, option) => `Median ${tuning.figure} by ${option.option}: ${option.levels.map(levelText).join("; ")}.`;

function sensitivityTable({ tuning, name }) {
  const rows = tuning.sensitivity.map((option) =>
    h(
      "tr",
      { "data-option": option.option },
      headerCell(option.option),
      numberCell(option.share, "percent"),
      h("td", {}, isNumber(option.chance_share) ? `to ${format(option.chance_share, "percent")}` : NO_VALUE),
      numberCell(option.p, "fixed"),
      numberCell(option.rank_correlation, "fixed"),
      h("td", {}, isNumber(option.chance_low) ? formatInterval(option.chance_low, option.chance_high, "fixed") : NO_VALUE),
    ),
  );
  const head = ["Option", "Share of variance", "By chance", "p", "Rank correlation", "By chance"];
  return tableOf(`What the options of ${name} did`, head, rows);
}

function trialsTable({ tuning, trials, name }) {
  const options = Object.keys(tuning.best.options);
  const rows = [...trials]
    .sort((a, b) => a.rank - b.rank)
    .map((trial) => {
      const good = lastGood(trial);
      const values = options.map((option) =>
        isNumber(trial.options[option]) ? numberCell(trial.options[option]) : h("td", { class: "text" }, valueText(trial.options[option])),
      );
      const failure = trial.rungs.at(-1)?.failure ?? "";
      return h(
        "tr",
        { "data-trial": trial.trial },
        headerCell(`Trial ${trial.trial}`),
        numberCell(good?.steps),
        numberCell(good?.figure),
        values,
        h("td", { class: "text" }, failure),
      );
    });
  return tableOf(`Trials of ${name}`, ["Trial", "Steps", tuning.figure, ...options, "Failed"], rows, { tall: true });
}

function tuningContent(found, several) {
  const { tuning, trials, name } = found;
  const rungs = tuning.rungs.map((rung) => `${format(rung.trials)} to ${format(rung.steps)}`).join(", ");
  const best = lastGood(tuning.best);
  return [
    several ? h("h3", {}, name) : null,
    h(
      "p",
      {},
      `The best of ${count(trials.length, "trial")} is trial ${tuning.best.trial}: ${tuning.figure} ${format(best?.figure)} at step ${format(best?.steps)}. Trials went on to more steps in rungs: ${rungs}.`,
    ),
    tuning.sensitivity.length > 0 ? sensitivityTable(found) : null,
    h(
      "div",
      { class: "charts" },
      tuning.sensitivity.map((option) => scatter(found, option)),
    ),
    trialsTable(found),
  ];
}

function tuningSection({ tunings }) {
  if (tunings.length === 0) return null;
  const note =
    "What options did is from the first rung, whose trials all had the same steps, and from ranks; by chance: 95\u00a0% of random permutations. A dot is a trial, a cross one that failed, the ring is around the best of the last rung.";
  return {
    id: "tuning",
    title: "Tuning",
    content: [h("p", { class: "note" }, note), ...tunings.map((found) => tuningContent(found, tunings.length > 1))],
  };
}
