// The shift test: evidence against its threshold, and the figures that describe what has come.

const REFERENCE = { label: "Reference", color: 6, dash: 1, plain: true };

// The level of a figure of the reference; none where nothing is in it.
function referenceOf(status, stream, figure) {
  const { shift } = status;
  return levelOf(status, shift?.[stream]?.reference > 0 ? figure(shift) : null);
}

// [chart, the lines of a status]
const SHIFT_CHARTS = [
  [
    {
      id: "evidence",
      title: "Evidence of a shift",
      note: "Log10 of a capital that is bet on a shift. Either line at the threshold sets off the alarm.",
      kind: "fixed",
      series: [
        { label: "Reward differences", color: 0, marker: 0 },
        { label: "Rewards", color: 1, marker: 2 },
        { label: "Threshold", color: 6, dash: 1, plain: true },
      ],
    },
    (status) => [pointsOf(status, "evidence_differences"), pointsOf(status, "evidence_rewards"), levelOf(status, status.shift?.threshold)],
  ],
  [
    {
      id: "differences",
      title: "Mean reward difference",
      note: "Between two responses to a prompt, over the last prompts.",
      kind: "fixed",
      series: [{ label: "Now", color: 0, marker: 0 }, { ...REFERENCE }],
    },
    (status) => [pointsOf(status, "difference_mean"), referenceOf(status, "differences", (shift) => shift.differences.reference_mean)],
  ],
  [
    {
      id: "rewards",
      title: "Mean reward",
      note: "Of each prompt\u2019s first response, over the last prompts.",
      kind: "fixed",
      series: [{ label: "Now", color: 1, marker: 2 }, { ...REFERENCE }],
    },
    (status) => [pointsOf(status, "reward_mean"), referenceOf(status, "rewards", (shift) => shift.rewards.reference_mean)],
  ],
  [
    {
      id: "near-ties",
      title: "Near ties",
      note: "Prompts whose two responses the reward model hardly tells apart.",
      kind: "percent",
      fromZero: true,
      series: [{ label: "Now", color: 2, marker: 3 }, { ...REFERENCE }],
    },
    (status) => [pointsOf(status, "near_ties"), referenceOf(status, "differences", (shift) => shift.near_ties.reference)],
  ],
];

const STREAM_HEAD = ["Stream", "Evidence", "Threshold", "Mean now", "Mean of the reference", "Distance", "Prompts now", "In the reference"];

function streamRow(shift, stream) {
  const figures = shift[stream];
  const known = (value, size) => numberCell(size > 0 ? value : null, "fixed");
  return h(
    "tr",
    { "data-stream": stream },
    headerCell(titleOf(STREAMS[stream])),
    numberCell(figures.evidence, "fixed"),
    numberCell(shift.threshold, "fixed"),
    known(figures.window_mean, figures.window),
    known(figures.reference_mean, figures.reference),
    known(figures.distance, Math.min(figures.window, figures.reference)),
    numberCell(figures.period),
    numberCell(figures.reference),
  );
}

function shiftNote(shift) {
  if (!shift) return "This server does not watch for a shift.";
  if ("reference_wanted" in shift) return shiftFact({ shift }).more;
  const ended = shift.periods > 0 ? ` ${count(shift.periods, "period")} ended without an alarm.` : "";
  return `Each stream is compared with its reference.${ended} Distance is Kolmogorov and Smirnov\u2019s; the alarm does not come from it.`;
}

function shiftSection() {
  const charts = SHIFT_CHARTS.map(([chart, lines]) => ({ ...liveChart(chart), lines }));
  const note = h("p", { class: "note" });
  const table = h("div");
  function update({ status }) {
    const { shift } = status;
    note.textContent = shiftNote(shift);
    const streams = shift && !("reference_wanted" in shift) ? Object.keys(STREAMS) : [];
    replaceIfChanged(table, streams.length > 0 ? shift : null, () =>
      streams.length > 0
        ? liveTable(
            "Streams that the shift test watches",
            STREAM_HEAD,
            streams.map((stream) => streamRow(shift, stream)),
          )
        : [],
    );
    for (const chart of charts) chart.update(chart.lines(status));
  }
  const elements = charts.map((chart) => chart.element);
  return { id: "shift", title: "Shift", content: [note, table, h("div", { class: "charts wide" }, elements)], update };
}
