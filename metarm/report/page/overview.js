// The runs at a glance.

const lastOf = (run, key) => run.figures[key]?.values.at(-1);

// Columns of the table: a title, and a cell for a run; those in which no run has anything are left out.
const OVERVIEW = [
  ["Steps", (run) => numberCell(run.steps)],
  ["Time", (run) => h("td", {}, run.seconds > 0 ? formatDuration(run.seconds) : NO_VALUE)],
  ["Last loss", (run) => numberCell(lastOf(run, "loss"), "fixed")],
  [
    "Held-out accuracy",
    (run) => numberCell(lastOf(run, "eval_accuracy"), "fixed", lastOf(run, "eval_accuracy_low"), lastOf(run, "eval_accuracy_high")),
  ],
  ["Proxy reward", (run) => numberCell(lastOf(run, "reward"), "fixed")],
  ["Gold reward", (run) => numberCell(lastOf(run, "gold_reward"), "fixed")],
  ["KL", (run) => numberCell(lastOf(run, "kl"), "fixed")],
];

function overviewSection(data) {
  if (data.runs.length === 0) return null;
  const state = (run) => h("span", { class: run.finished ? "state finished" : "state" }, run.finished ? "finished" : "unfinished");
  const cells = data.runs.map((run) => OVERVIEW.map(([, cell]) => cell(run)));
  const used = OVERVIEW.map((_, c) => cells.some((row) => row[c].textContent !== NO_VALUE));
  const rows = data.runs.map((run, r) => {
    const texts = [h("td", { class: "text" }, run.command || NO_VALUE), h("td", { class: "text" }, state(run))];
    return h(
      "tr",
      {},
      headerCell(run.name),
      texts,
      cells[r].filter((_, c) => used[c]),
    );
  });
  const head = ["Run", "Command", "State", ...OVERVIEW.map(([title]) => title).filter((_, c) => used[c])];
  const table = tableOf("Runs", head, rows, { class: "overview" });
  return { id: "overview", title: "Runs", content: [h("p", { class: "note" }, "Figures of the last step that recorded them."), table] };
}
