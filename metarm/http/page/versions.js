// The versions of the served model, and what an administrator may do with them.

// Why nothing may be changed from here; "" where it may. `access`: whether samples, which need the same key, were answered.
function changeRefusal({ access, trouble, pending }) {
  if (pending) return pending;
  if (trouble) return "The server does not answer.";
  if (access.changeRefusal) return access.changeRefusal;
  if (access.samplesRefusal) return "Your key is of the role score; this needs one of the role admin.";
  if (!accessKey) return "This needs a key of the role admin. A server without --api-keys takes no changes.";
  return "";
}

function alignRefusal(state) {
  const { alignment } = state.status;
  if (!alignment.enabled) return "The server has no pairs to align with (--pairs).";
  if (alignment.state !== "idle") return "An alignment is running.";
  return changeRefusal(state);
}

const signed = (value, kind) => (value > 0 ? `+${format(value, kind)}` : format(value, kind));

// Measures in words; those that are not known here as they are called.
const accuracyText = ({ pairs, gained, lost, change, lower }) =>
  `ccuracy ${signed(change, "fixed")}, at least ${signed(lower, "fixed")}: ${format(gained)} gained, ${format(lost)} lost of ${count(pairs, "pair")}`;
const MEASURES = {
  accuracy: (change) => `A${accuracyText(change)}`,
  accuracy_since_first: (change) => `Since version 1: a${accuracyText(change)}`,
  discrimination: ({ groups, served, candidate, upper }) =>
    groups > 0
      ? `Discrimination ${format(served, "fixed")} \u2192 ${format(candidate, "fixed")}, change at most ${signed(upper, "fixed")}, in ${count(groups, "group")}`
      : "Discrimination: no groups",
};

const measureTexts = (measures) =>
  Object.entries(measures ?? {}).map(([name, value]) => MEASURES[name]?.(value) ?? `${titleOf(name)}: ${JSON.stringify(value)}`);

const list = (texts) =>
  h(
    "ul",
    { class: "plain" },
    texts.map((text) => h("li", {}, text)),
  );

function decisionCell(version) {
  const [mark, word] = version.admitted ? ["good", "admitted"] : ["bad", "rejected"];
  return h("td", { class: "text wide" }, h("strong", { class: "decision" }, marker(mark), word), list(version.reasons));
}

function actionCell(version, current, refusal, rollBack) {
  if (version.number === current) return h("td", { class: "text" }, "Served now");
  if (!version.admitted) return h("td", { class: "text" }, "Cannot be served");
  const text = `${version.number < current ? "Roll back" : "Return"} to ${version.number}`;
  const attributes = {
    type: "button",
    disabled: Boolean(refusal),
    "aria-describedby": "may-change",
    "data-keep": `version-${version.number}`,
  };
  return h("td", { class: "text" }, h("button", { ...attributes, click: () => rollBack(version) }, text));
}

// The number, and below it when it was made.
function versionHeader({ number, created }) {
  const time = Date.parse(created) / 1000;
  return headerCell([`Version ${number}`, h("span", { class: "interval" }, isNumber(time) ? momentOf(time) : created)]);
}

function versionRow(version, current, refusal, rollBack) {
  const serves = version.number === current;
  const scale = version.scale === 1 && version.offset === 0 ? [] : [`Rewards \u00d7 ${format(version.scale)} ${signed(version.offset)}`];
  return h(
    "tr",
    { "data-version": version.number, class: serves ? "current" : null, "aria-current": serves ? "true" : null },
    versionHeader(version),
    actionCell(version, current, refusal, rollBack),
    decisionCell(version),
    h("td", { class: "text wide" }, list([...measureTexts(version.measures), ...scale])),
    h("td", {}, version.parent ? format(version.parent) : NO_VALUE),
    h("td", { class: "text" }, h("code", {}, version.id || NO_VALUE)),
  );
}

const VERSION_HEAD = ["Version", "Action", "Decision", "Measured", "Aligned from", "Id"];

// `act(doing, path, body, done)`: asks the server for a change.
function versionsSection(act) {
  const align = h("button", { type: "button", "aria-describedby": "may-align" }, "Align now");
  const mayAlign = h("span", { id: "may-align", class: "note" });
  const mayChange = h("p", { id: "may-change", class: "note" });
  const outcome = h("p", { id: "outcome", role: "status" });
  const table = h("div");

  align.addEventListener("click", async () => {
    const text =
      "The served model is aligned to the response groups in the shift log. It takes the machine\u2019s time; the version that is served stays until a better one is admitted.";
    if (await confirmed("Align now?", text, "Align now")) act("Asking for an alignment.", "v1/align", {}, () => "The alignment has begun.");
  });
  async function rollBack({ number }) {
    const text = `Version ${number} is loaded and answers all later requests. An alignment that is running is ended.`;
    const done = ({ version }) => `Version ${version} is served.`;
    if (await confirmed(`Serve version ${number}?`, text, `Serve version ${number}`))
      act(`Loading version ${number}.`, "v1/rollback", { version: number }, done);
  }

  function update(state) {
    const cannotAlign = alignRefusal(state),
      refusal = changeRefusal(state);
    align.disabled = Boolean(cannotAlign);
    mayAlign.textContent = cannotAlign;
    outcome.textContent = state.outcome;
    const { versions = [], current } = state.versions ?? {};
    const others = versions.some((version) => version.admitted && version.number !== current);
    mayChange.textContent = others && refusal && refusal !== cannotAlign ? `Rolling back: ${refusal}` : "";
    const rows = () => versions.toReversed().map((version) => versionRow(version, current, refusal, rollBack));
    replaceIfChanged(table, [state.versions, Boolean(refusal)], () =>
      versions.length > 0
        ? liveTable("Versions of the served model", VERSION_HEAD, rows(), { class: "versions" })
        : h("p", { class: "note" }, state.versions ? "This server keeps no versions." : "The versions are not known yet."),
    );
  }
  return {
    id: "versions",
    title: "Versions",
    content: [h("div", { class: "action" }, align, mayAlign), mayChange, outcome, table],
    update,
  };
}
