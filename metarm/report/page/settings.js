// The resolved options of each run, side by side.

const PLACES = new Set(["output", "resume", "quiet", "json", "threads"]); // say where and how, not what

function settingsTable(title, columns) {
  const values = columns.map((column) => new Map(column.settings));
  const keys = [...new Set(columns.flatMap((column) => column.settings.map(([key]) => key)))].sort();
  const differs = (key) => !PLACES.has(key) && values.some((map) => map.get(key) !== values[0].get(key));
  const differing = new Set(keys.filter(differs));
  const rows = keys.map((key) => {
    const note = differing.has(key) ? h("span", { class: "hidden-text" }, " (differs)") : null;
    const cells = values.map((map) => h("td", {}, map.has(key) ? map.get(key) || "\u201c\u201d" : NO_VALUE));
    return h(
      "tr",
      { class: differing.has(key) ? "differs" : null, "data-setting": key },
      headerCell([key, note].filter((part) => part)),
      cells,
    );
  });
  const table = tableOf(`Options: ${title}`, ["Option", ...columns.map((column) => column.name)], rows, { class: "settings", tall: true });
  if (columns.length === 1) return [h("h3", {}, title), table];

  const box = h("input", { type: "checkbox" });
  const update = () => rows.forEach((row, i) => (row.hidden = box.checked && !differing.has(keys[i])));
  box.addEventListener("input", update);
  box.checked = differing.size > 0;
  update();
  const label = h(
    "label",
    { class: "check" },
    box,
    `Only the ${count(differing.size, "option")} that differ${differing.size === 1 ? "s" : ""}`,
  );
  return [h("h3", {}, title), label, table];
}

// The stages of the rounds that are no trainings, each stage's rounds beside one another.
function stageKinds(folders) {
  const columns = folders.flatMap((folder) =>
    folder.rounds.flatMap((round) =>
      round.stages.map(({ name: stage, settings }) => ({ stage, settings, name: inFolder(folder, folders, `Round ${round.round}`) })),
    ),
  );
  const stages = [...new Set(columns.map(({ stage }) => stage))];
  return stages.map((stage) => ({ title: `Stage ${stage}`, columns: columns.filter((column) => column.stage === stage) }));
}

function settingsSection({ runs, rounds: folders }) {
  const kinds = kindsOf(runs).map((kind) => ({ title: kind.title, columns: kind.runs }));
  if (folders.length > 0) kinds.unshift({ title: "Rounds", columns: folders }, ...stageKinds(folders));
  const tables = kinds
    .map(({ title, columns }) => ({ title, columns: columns.filter((column) => column.settings.length > 0) }))
    .filter(({ columns }) => columns.length > 0)
    .flatMap(({ title, columns }) => settingsTable(title, columns));
  if (tables.length === 0) return null;
  return { id: "settings", title: "Options", content: tables };
}
