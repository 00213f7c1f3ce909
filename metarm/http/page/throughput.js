// What has been scored, what waits, what was refused; and what the shift log kept.

const SPEED_CHARTS = [
  ["rows_per_s", { id: "rows-per-s", title: "Rows a second", color: 0, marker: 0 }],
  ["tokens_per_s", { id: "tokens-per-s", title: "Tokens a second", color: 2, marker: 3 }],
  ["queue_rows", { id: "queue-rows", title: "Rows waiting", color: 1, marker: 2 }],
];

FORMATS.size = (bytes) => (bytes < 1e6 ? `${formatNumber(Math.round(bytes / 1e3))}${SPACE}kB` : formatBytes(bytes));

const sumOf = (rows, name) => rows.reduce((sum, row) => sum + row[name], 0);

function queueTiles({ models, queue, history }) {
  return [
    ["rows", "Rows scored", sumOf(models, "rows")],
    ["tokens", "Tokens scored", sumOf(models, "tokens")],
    ["rows_per_s", "Rows a second", history?.rows_per_s?.at(-1)],
    ["tokens_per_s", "Tokens a second", history?.tokens_per_s?.at(-1)],
    ["queue_rows", "Rows waiting", queue.rows],
    ["queue_tokens", "Tokens waiting", queue.tokens],
    ["batches", "Forward passes", queue.batches],
    ["tree_tokens", "Tokens computed", queue.tree_tokens],
    ["refused", "Refused: queue full", queue.refused],
    ["late", "Ran out of time", queue.late],
    ["abandoned", "Abandoned by clients", queue.abandoned],
  ];
}

function modelRow(model) {
  const version = h("td", { class: "text" }, h("code", {}, model.version));
  const loaded = h("td", { class: "text" }, momentOf(model.loaded_at));
  return h("tr", {}, headerCell(model.name), version, loaded, numberCell(model.rows), numberCell(model.tokens));
}

function throughputSection() {
  const tiles = h("dl", { class: "tiles" });
  const table = h("div");
  const charts = SPEED_CHARTS.map(([name, { id, title, ...look }]) => {
    const note = name === "queue_rows" ? "When the point was taken." : "Since the point before.";
    return { ...liveChart({ id, title, note, fromZero: true, series: [{ label: title, ...look }] }), name };
  });
  function update({ status }) {
    const figures = queueTiles(status);
    replaceIfChanged(tiles, figures, () => figures.map(tile));
    replaceIfChanged(table, status.models, () =>
      liveTable("Served models", ["Model", "Version", "Loaded", "Rows", "Tokens"], status.models.map(modelRow), { class: "models" }),
    );
    for (const chart of charts) chart.update([pointsOf(status, chart.name)]);
  }
  const elements = charts.map((chart) => chart.element);
  return { id: "queue", title: "Queue and throughput", content: [tiles, h("div", { class: "charts" }, elements), table], update };
}

function logTiles(log) {
  return [
    ["log_rows", "Rows kept", log.rows],
    ["bytes", "On disk", log.bytes, "size"],
    ["offered", "Offered", log.offered],
    ["acknowledged", "Safe on disk", log.acknowledged],
    ["sampled_out", "Left out: too fast", log.sampled_out],
    ["dropped", "Dropped", log.dropped],
    ["removed", "Removed: old", log.removed],
    ["unsplit", "Without a prompt", log.unsplit],
  ];
}

function logParts(log) {
  if (!log) return [h("p", { class: "note" }, "This server keeps no log of what it scores.")];
  const error = log.error
    ? notice(marker("bad"), h("strong", {}, "The log cannot be written: "), h("span", { id: "log-error" }, log.error))
    : [];
  const redacted = log.redacted ? h("p", { class: "note" }, "Texts are kept as hashes alone (--redact).") : [];
  return [error, redacted, h("dl", { class: "tiles" }, logTiles(log).map(tile))].flat();
}

function logSection() {
  const parts = h("div");
  const update = ({ status }) => replaceIfChanged(parts, status.log, () => logParts(status.log));
  return { id: "log", title: "Shift log", content: [parts], update };
}
